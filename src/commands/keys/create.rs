//! `landfall keys create`: the host key is made in memory, encrypted, and stored; never in plain text.

use super::declared;
use crate::facts::{HostFacts, HostRef};
use crate::machine::fingerprint;
use crate::nix::quoted;
use crate::prepare::Flake;
use crate::report::{Event, Exit, Failure, Report};
use crate::secrets::age::tag;
use crate::secrets::host_key::{kept_at, public_beside, recipient, store};
use crate::secrets::{HostKey, read_file};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// Which host.
    pub(crate) host: HostRef,
    /// The flake, for a host that names none.
    pub(crate) flake: Flake,
    /// Whom it is encrypted to: recipients, or files of them; the user's own key, if there is none.
    pub(crate) to: Vec<String>,
    /// Where it is kept, if not in the state directory.
    pub(crate) out: Option<PathBuf>,
}

/// Makes the key, and tells what it must be added to.
pub(super) async fn create(request: &CreateRequest, report: &Report) -> Result<(), Failure> {
    let cannot = |error: anyhow::Error| {
        Failure::new(Exit::Other, "the host key cannot be made").because(error)
    };
    let path = match &request.out {
        Some(path) => path.clone(),
        None => kept_at(&request.host.attribute).map_err(cannot)?,
    };
    refuse_to_overwrite(&path)?;
    let recipients = recipients(&request.to).await.map_err(|error| {
        cannot(error)
            .hint("name the key that is to open it with --to: age1…, ssh-ed25519 …, or a file")
    })?;
    let host = declared(&request.host, &request.flake, report).await?;
    let name = host.host_name.clone().filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| request.host.attribute.clone());
    let comment = format!("root@{name}");
    let made = HostKey::create(&comment).and_then(|key| {
        let encrypted = key.encrypt(&recipients)?;
        store(&path, &encrypted, &format!("{} {comment}", key.public))?;
        Ok(key)
    });
    let key = made.map_err(cannot)?;
    if host.host_key(Some("ed25519")).is_none() {
        report.note("services.openssh.hostKeys has no key of the type ed25519: add one for it");
    }
    report.emit(Event::HostKey {
        what: "made",
        path: path.display().to_string(),
        public: format!("{} {comment}", key.public),
        fingerprint: key.fingerprint(),
        next: next(&host, &name, &key.public, &comment),
    });
    Ok(())
}

fn refuse_to_overwrite(path: &Path) -> Result<(), Failure> {
    let beside = public_beside(path);
    if !path.exists() && !beside.exists() {
        return Ok(());
    }
    let public = std::fs::read_to_string(&beside).unwrap_or_default();
    let which = match fingerprint(&public) {
        Some(print) => format!("{print} ({})", public.trim()),
        None => "its public half is not beside it".to_owned(),
    };
    Err(Failure::new(Exit::Other, format!("there is a key already: {}", path.display()))
        .because(anyhow::anyhow!(which))
        .hint("it stays; for another one, move it away by hand, or give --out"))
}

/// The keys to encrypt to, each checked to be one.
async fn recipients(given: &[String]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for text in given {
        if text.starts_with("age1") || text.starts_with("ssh-") {
            texts.push(text.clone());
        } else {
            texts.extend(lines(Path::new(text)).await?);
        }
    }
    if given.is_empty() {
        let home = std::env::home_dir().context("no home directory is known")?;
        let usual = ["id_ed25519.pub", "id_rsa.pub"].map(|name| home.join(".ssh").join(name));
        let Some(path) = usual.iter().find(|path| path.exists()) else {
            bail!("there is neither {} nor {}", usual[0].display(), usual[1].display());
        };
        texts = lines(path).await?;
    }
    for text in &texts {
        recipient(text)?;
    }
    if texts.is_empty() {
        bail!("there is no recipient to encrypt it to");
    }
    Ok(texts)
}

async fn lines(path: &Path) -> Result<Vec<String>> {
    let text = read_file(path).await.with_context(|| format!("reading {}", path.display()))?;
    let text = std::str::from_utf8(text.expose())?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// What the user does next: the change to secrets.nix, and the command.
fn next(host: &HostFacts, name: &str, public: &str, comment: &str) -> String {
    let variable = variable(name);
    let tag = tag(public).unwrap_or_default();
    let mut text = format!(
        "it is an age recipient as it stands, named {tag} in age files.\n\nin secrets.nix, beside the other keys:\n\n  \
         {variable} = {};\n\nand for each secret of this host:\n\n",
        quoted(&format!("{public} {comment}"))
    );
    let declared = host.secrets.iter().flatten().filter_map(|secret| secret.file.as_deref());
    let files: BTreeSet<&str> = declared.map(within_its_repository).collect();
    for file in &files {
        let _ = writeln!(text, "  {}.publicKeys = [ … {variable} ];", quoted(file));
    }
    if files.is_empty() {
        let _ = writeln!(
            text,
            "  \"NAME.age\".publicKeys = [ … {variable} ];   (it declares none yet)"
        );
    }
    let _ = write!(
        text,
        "\nthen, in the repository of the secrets: agenix --rekey\n\
         and when the flake's input is updated: landfall keys check {}",
        host.attribute
    );
    text
}

/// The host's name as a variable of the Nix language.
fn variable(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
        .collect();
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() || first == '_' => name,
        _ => format!("host-{name}"),
    }
}

/// The path of an age file in the repository of the secrets, as secrets.nix names it: without the store's part.
fn within_its_repository(file: &str) -> &str {
    let Some(rest) = file.strip_prefix("/nix/store/") else { return file };
    match rest.split_once('/') {
        Some((_, file)) => file,
        // A file of its own: HASH-NAME.
        None => rest.split_once('-').map_or(rest, |(_, name)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_secrets_nix_has_them() {
        let hash = "x4y5z0000000000000000000000000ab";
        for (file, name) in [
            (format!("/nix/store/{hash}-source/token.age"), "token.age"),
            (format!("/nix/store/{hash}-source/nas/smb.age"), "nas/smb.age"),
            (format!("/nix/store/{hash}-token.age"), "token.age"),
            ("/etc/token.age".to_owned(), "/etc/token.age"),
        ] {
            assert_eq!(within_its_repository(&file), name);
        }
        assert_eq!(["nas", "3d-printer", "a.b"].map(variable), ["nas", "host-3d-printer", "a_b"]);
    }
}
