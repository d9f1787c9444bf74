# Builds the .drv file $1, in the store $2 if there is one, else in that of the running system. What is built already, or can be
# had from a substituter, is not built.
PATH="$PATH:/run/current-system/sw/bin"
if [ $# -gt 1 ]; then
    # Such a store can only be built in within namespaces; without them Nix would build, and lose what it has built.
    nix-store --realise "$1" --store "$2" --option sandbox-fallback false >/dev/null
else
    nix-store --realise "$1" >/dev/null
fi
