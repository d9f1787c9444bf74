# Becomes a program of this machine that ends with landfall, even where landfall is killed and can end nothing any more: it holds
# the other end of stdin, and says a word before it closes that itself. $@: the program and its arguments.
exec 3<&0
{ read -r _ <&3 || kill -s TERM "$$"; } >/dev/null 2>&1 &
exec 3<&- </dev/null
exec "$@"
