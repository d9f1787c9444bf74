//! The kexec image: a tarball with the layout of nix-community/nixos-images (`kexec/run`, `kexec/kexec`,
//! `kexec/initrd`, `kexec/bzImage`), from a file or, once, from a URL.

use super::stream::{ANSWER, output, output_of_child};
use crate::hex;
use crate::report::{Event, Report};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A local file.
    File(PathBuf),
    /// To be downloaded by `curl`.
    Url(String),
}

impl FromStr for ImageSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_url = text.split_once("://").is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric())
        });
        Ok(if is_url { Self::Url(text.to_owned()) } else { Self::File(PathBuf::from(text)) })
    }
}

/// An image that was looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The tarball.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its SHA-256, in hexadecimal.
    pub(crate) sha256: String,
    /// The option with which `tar` unpacks it.
    pub(crate) compression: Compression,
    /// The processors that its kernel and its `kexec` are for, in Nix' words, as far as their first bytes show.
    pub(crate) processors: BTreeSet<&'static str>,
}

/// How the tarball is compressed; by its first bytes, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// gzip: what the published images use.
    Gzip,
    Xz,
    /// Zstandard.
    Zstd,
    /// A plain tar.
    None,
}

impl Compression {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The program that decompresses it, if one is needed.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Xz => Some("xz"),
            Self::Zstd => Some("zstd"),
            Self::None => None,
        }
    }
}

/// What the contract says must be inside.
const PARTS: [&str; 4] = ["kexec/run", "kexec/kexec", "kexec/initrd", "kexec/bzImage"];

impl Image {
    /// Fetches the image if need be, and proves as much of it as can be proven here.
    pub async fn obtain(
        source: &ImageSource,
        expected_sha256: Option<&str>,
        report: &Report,
    ) -> Result<Self> {
        let mut image = match source {
            ImageSource::File(path) => Self::inspect(path.clone()).await?,
            ImageSource::Url(url) => download(url, expected_sha256, report).await?,
        };
        if let Some(expected) = expected_sha256
            && !expected.eq_ignore_ascii_case(&image.sha256)
        {
            bail!(
                "{} has SHA-256 {}, not {expected} as required",
                image.path.display(),
                image.sha256
            );
        }
        for part in image.check_layout().await? {
            image.processors.extend(processor(&image.head(&part).await?));
        }
        Ok(image)
    }

    async fn inspect(path: PathBuf) -> Result<Self> {
        let read = move || {
            let context = || format!("reading the kexec image {}", path.display());
            let mut file = std::fs::File::open(&path).with_context(context)?;
            let mut hash = Sha256::new();
            let mut buffer = vec![0; 1 << 20];
            let (mut size, mut compression) = (0, None);
            loop {
                let length = file.read(&mut buffer).with_context(context)?;
                compression.get_or_insert_with(|| Compression::of(&buffer[..length]));
                if length == 0 {
                    break;
                }
                hash.update(&buffer[..length]);
                size += length as u64;
            }
            let sha256 = hex(&hash.finalize());
            let compression = compression.unwrap_or(Compression::None);
            let processors = BTreeSet::new();
            Ok(Self { path: path.clone(), size, sha256, compression, processors })
        };
        tokio::task::spawn_blocking(read).await?
    }

    /// Sees that all is there that must be; the names of the programs in it.
    async fn check_layout(&self) -> Result<Vec<String>> {
        let list = output(tar(&["-tf"]).arg(&self.path), ANSWER).await.context("running tar")?;
        let names = String::from_utf8_lossy(&list.stdout);
        let plain = |name: &str| name.trim_start_matches("./").to_owned();
        let spelled: Vec<&str> = names.lines().collect();
        let names: Vec<String> = spelled.iter().map(|name| plain(name)).collect();
        if !list.status.success() {
            let said = super::last_lines(&String::from_utf8_lossy(&list.stderr), 2);
            bail!("{} is not a kexec image: tar cannot read it: {said}", self.path.display());
        }
        let is_there = |part: &str| names.iter().any(|name| name == part);
        let missing: Vec<_> = PARTS.into_iter().filter(|part| !is_there(part)).collect();
        if !missing.is_empty() {
            bail!("{} is not a kexec image: it lacks {}", self.path.display(), missing.join(", "));
        }
        let is_program = |name: &&&str| PROGRAMS.contains(&plain(name).as_str());
        Ok(spelled.iter().filter(is_program).map(|name| (*name).to_owned()).collect())
    }

    /// The first bytes of a file in it; more of it is not unpacked.
    async fn head(&self, part: &str) -> Result<Vec<u8>> {
        let mut tar = tar(&["-xOf"]);
        let tar = tar.arg(&self.path).arg("--").arg(part).stdout(Stdio::piped());
        let mut tar = tar.stderr(Stdio::null()).spawn().context("running tar")?;
        let mut head = Vec::new();
        if let Some(stdout) = tar.stdout.take() {
            let mut stdout = stdout.take(HEAD);
            tokio::time::timeout(UNPACKING, stdout.read_to_end(&mut head))
                .await
                .with_context(|| format!("tar did not unpack {part} in time"))??;
        }
        let _ = tar.kill().await;
        Ok(head)
    }

    /// Unpacks kernel, initrd and `run` into a directory, as `kexec/…` below it.
    pub(crate) async fn unpack(&self, into: &Path) -> Result<()> {
        let mut tar = tar(&["-xf"]);
        let unpacked = output(tar.arg(&self.path).arg("-C").arg(into), ANSWER).await;
        let unpacked = unpacked.context("running tar")?;
        if !unpacked.status.success() {
            let said = super::last_lines(&String::from_utf8_lossy(&unpacked.stderr), 2);
            bail!("{} cannot be unpacked: {said}", self.path.display());
        }
        Ok(())
    }
}

/// What in an image is made for one kind of processor.
const PROGRAMS: [&str; 2] = ["kexec/bzImage", "kexec/kexec"];
/// Bytes of a program that show for which.
const HEAD: u64 = 4096;

/// The largest image is read through in this time, from the slowest disk.
const UNPACKING: Duration = Duration::from_secs(1800);

/// For which processor a program or a kernel is, by its own header, in Nix' words. None for what does not say, and for
/// what may run on a later processor, too (32-bit x86 and ARM).
fn processor(head: &[u8]) -> Option<&'static str> {
    let number = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    if has(0, b"\x7fELF\x02\x01") {
        // elf(5): e_machine.
        return match number(18)? {
            62 => Some("x86_64"),
            183 => Some("aarch64"),
            243 => Some("riscv64"),
            _ => None,
        };
    }
    // Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/boot-image-header.rst
    if has(56, b"ARM\x64") {
        return Some("aarch64");
    }
    if has(56, b"RSC\x05") {
        return Some("riscv64");
    }
    // Documentation/arch/x86/boot.rst: xloadflags, with XLF_KERNEL_64, since version 2.12.
    if has(0x202, b"HdrS") {
        let has_64_bits = number(0x206)? >= 0x20c && number(0x236)? & 1 == 1;
        return has_64_bits.then_some("x86_64");
    }
    // A PE program, as a compressed kernel for EFI is.
    let pe = usize::from(number(0x3c)?);
    if has(0, b"MZ") && has(pe, b"PE\0\0") {
        return match number(pe + 4)? {
            0x8664 => Some("x86_64"),
            0xaa64 => Some("aarch64"),
            0x5064 => Some("riscv64"),
            _ => None,
        };
    }
    None
}

#[allow(clippy::disallowed_methods, reason = "the workstation's own tar")]
fn tar(arguments: &[&str]) -> Command {
    let mut tar = Command::new("tar");
    tar.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    tar
}

/// No image is larger, and a disk must not be filled with something else.
const LARGEST: u64 = 16 << 30;
/// How often a download's progress is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Downloads into the cache unless it is there already.
///
/// The published images are replaced in place under the same URL, so a cached file is only used again
/// where a digest pins it, or where the server says (by its time stamp) that it has no newer one.
#[allow(clippy::disallowed_methods, reason = "the workstation's own curl")]
async fn download(url: &str, pinned: Option<&str>, report: &Report) -> Result<Image> {
    let dir = crate::paths::cache()?.join("kexec");
    tokio::fs::create_dir_all(&dir).await.with_context(|| format!("creating {}", dir.display()))?;
    let name = hex(&Sha256::digest(url.as_bytes())[..8]);
    let path = dir.join(&name);
    if let (Some(pinned), true) = (pinned, path.exists()) {
        let cached = Image::inspect(path.clone()).await?;
        if cached.sha256.eq_ignore_ascii_case(pinned) {
            return Ok(cached);
        }
        // Cut short, or another release than the one that is asked for now.
        tokio::fs::remove_file(&path).await.context("removing an outdated image")?;
    }
    report.doing(format!("downloading {url}"));
    let part = dir.join(format!("{name}.{}.part", std::process::id()));
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--location", "--silent", "--show-error", "--remote-time"]);
    curl.args(["--connect-timeout", "20", "--speed-limit", "1", "--speed-time", "60"]);
    curl.args(["--retry", "3", "--output"]).arg(&part);
    if path.exists() {
        curl.arg("--time-cond").arg(&path);
    }
    curl.arg("--").arg(url).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = curl.spawn().context("starting curl, which downloads the kexec image")?;
    let output = output_of_child(child, ANSWER);
    tokio::pin!(output);
    let output = loop {
        tokio::select! {
            output = &mut output => break output?,
            () = tokio::time::sleep(LOOK) => {
                if let Ok(meta) = tokio::fs::metadata(&part).await {
                    let bytes = meta.len();
                    if bytes > LARGEST {
                        let _ = tokio::fs::remove_file(&part).await;
                        bail!("{url} is not a kexec image: it has more than {} GiB", LARGEST >> 30);
                    }
                    report.emit(Event::Progress { what: "kexec image", bytes, total: None });
                }
            }
        }
    };
    if !output.status.success() {
        let _ = tokio::fs::remove_file(&part).await;
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{url} cannot be downloaded: {}", super::last_lines(&said, 12));
    }
    // No file: the server has none newer than the cached one.
    if part.exists() {
        tokio::fs::rename(&part, &path).await.context("moving the image into the cache")?;
    }
    Image::inspect(path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_distinguished_from_a_file() {
        let file = |text: &str| ImageSource::File(PathBuf::from(text));
        for text in ["image.tar.gz", "/a/b.tar", "./x:y", "C://x y/../"] {
            let parsed: ImageSource = text.parse().unwrap();
            assert_eq!(parsed == file(text), !text.contains("://"), "{text}");
        }
    }

    /// Bytes at their places, in a page of zeros.
    fn page(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut page = vec![0; 4096];
        for (at, bytes) in parts {
            page[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        page
    }

    #[test]
    fn the_processor_is_recognised_by_the_first_bytes() {
        let elf = |machine: u8| page(&[(0, b"\x7fELF\x02\x01"), (18, &[machine, 0])]);
        let pe = |low: u8, high: u8| {
            page(&[(0, b"MZ"), (0x3c, &[0x80]), (0x80, b"PE\0\0"), (0x84, &[low, high])])
        };
        let x86 = |flags: u8| page(&[(0, b"MZ"), (0x202, b"HdrS\x0f\x02"), (0x236, &[flags])]);
        for (head, expected) in [
            (elf(62), Some("x86_64")),
            (elf(183), Some("aarch64")),
            (elf(243), Some("riscv64")),
            (elf(3), None),
            (page(&[(0, b"\x7fELF\x01\x01"), (18, &[40, 0])]), None),
            (page(&[(0, b"MZ"), (56, b"ARM\x64")]), Some("aarch64")),
            (page(&[(56, b"RSC\x05")]), Some("riscv64")),
            (x86(3), Some("x86_64")),
            (x86(0), None),
            (pe(0x64, 0xaa), Some("aarch64")),
            (pe(0x64, 0x86), Some("x86_64")),
            (b"#!/bin/sh\nexec kexec\n".to_vec(), None),
            (page(&[(0, b"MZ"), (0x3c, &[0xff, 0xff])]), None),
            (Vec::new(), None),
        ] {
            assert_eq!(processor(&head), expected, "{:?}", &head[..head.len().min(64)]);
        }
    }

    #[tokio::test]
    async fn an_image_is_looked_into_for_what_it_runs_on() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("kexec");
        std::fs::create_dir(&parts).unwrap();
        for name in ["run", "initrd", "bzImage"] {
            std::fs::write(parts.join(name), "text").unwrap();
        }
        let mut kexec = page(&[(0, b"\x7fELF\x02\x01"), (18, &[183, 0])]);
        // More than a pipe holds.
        kexec.resize(1 << 20, 0);
        std::fs::write(parts.join("kexec"), kexec).unwrap();
        let path = dir.path().join("image.tar.gz");
        for members in ["kexec", "./kexec"] {
            let mut pack = tar(&["-czf"]);
            pack.arg(&path).arg("-C").arg(dir.path()).arg(members);
            assert!(output(&mut pack, ANSWER).await.unwrap().status.success());
            let mut image = Image::inspect(path.clone()).await.unwrap();
            for part in image.check_layout().await.unwrap() {
                image.processors.extend(processor(&image.head(&part).await.unwrap()));
            }
            assert_eq!(image.processors, BTreeSet::from(["aarch64"]), "{members}");
        }
    }

    #[test]
    fn compression_is_recognised_by_the_first_bytes() {
        assert_eq!(Compression::of(&[0x1f, 0x8b, 8]), Compression::Gzip);
        assert_eq!(Compression::of(b"\xfd7zXZ\0"), Compression::Xz);
        assert_eq!(Compression::of(&[0x28, 0xb5, 0x2f, 0xfd, 0]), Compression::Zstd);
        assert_eq!(Compression::of(b"kexec/"), Compression::None);
    }
}
