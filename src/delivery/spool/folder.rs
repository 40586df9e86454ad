//! Where a spool's files are: what the log asks of a folder, and the folder on a disk.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::ACK_SLOT;

/// What a log asks of where its files are. A folder that fails in every way stands in for a disk in tests.
pub(crate) trait Folder {
    /// A segment that is being written.
    type Segment: Segment;

    /// Creates segment `number`, which must not exist.
    fn create(&mut self, number: u64) -> io::Result<Self::Segment>;
    /// The first `len` bytes of segment `number`, or all there are.
    fn read(&self, number: u64, len: u64) -> io::Result<Vec<u8>>;
    fn remove(&mut self, number: u64) -> io::Result<()>;
    /// Keeps the file of segment `number`, of which nothing is needed any more, to be written again: writing over what
    /// a file holds costs a fraction of new pages. There is at most one such file.
    fn keep_spare(&mut self, number: u64) -> io::Result<()>;
    /// Writes `start` over the beginning of that file and makes it segment `number`, which must not exist.
    fn use_spare(&mut self, number: u64, start: &[u8]) -> io::Result<Self::Segment>;
    fn remove_spare(&mut self) -> io::Result<()>;
    /// What to bring to the disk so that the names of segments outlive a crash of the machine.
    fn names(&self) -> Option<Arc<File>>;
    /// Writes one of the two acknowledgement slots, 0 or 1.
    fn write_ack(&mut self, slot: usize, bytes: &[u8; ACK_SLOT]) -> io::Result<()>;
    /// Replaces the file of open spans; nothing: removes it.
    fn replace_open(&mut self, bytes: Option<&[u8]>) -> io::Result<()>;
    /// Appends to the file of open spans, if it is there.
    fn append_open(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Bytes that may still be written to the disk; `None` if nobody knows.
    fn free_bytes(&self) -> Option<u64>;
    /// Removes the folder and everything in it that is ours.
    fn remove_all(&mut self) -> io::Result<()>;
}

/// See [`Folder::Segment`].
pub(crate) trait Segment {
    /// Writes all of `parts`, one behind the other, at `offset`, which the segment reaches to. After an error a part of
    /// them may be there.
    fn write(&mut self, offset: u64, parts: &[&[u8]]) -> io::Result<()>;
    /// Cuts everything from `len` on.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// What to bring to the disk so that the segment outlives a crash of the machine.
    fn handle(&self) -> Option<Arc<File>>;
}

/// The folder of one process below the folder of its service.
#[derive(Debug)]
pub(crate) struct ProcessFolder {
    path: PathBuf,
    /// Locked as long as this lives: whoever holds it owns the folder.
    _lock: File,
    ack: Option<File>,
    open: Option<File>,
}

const LOCK: &str = "LOCK";
const NEW_LOCK: &str = "LOCK.new";
const ACK: &str = "ACK";
const OPEN: &str = "OPEN";
const NEW_OPEN: &str = "OPEN.new";
const SPARE: &str = "SPARE";
const SEGMENT_SUFFIX: &str = ".seg";

fn segment_name(number: u64) -> String {
    format!("{number:012}{SEGMENT_SUFFIX}")
}

/// A service's name as a folder's: what is no letter, digit, `-` or `_` as `%` and two digits, at most 80 bytes.
fn folder_name(service: &str) -> String {
    let mut name = String::new();
    for byte in service.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
        if name.len() >= 80 {
            break;
        }
    }
    if name.is_empty() { "%".to_owned() } else { name }
}

/// The folder of a service's processes below `root`.
pub(crate) fn service_folder(root: &Path, service: &str) -> PathBuf {
    root.join("v1").join(folder_name(service))
}

/// Where spools are if nobody says otherwise: `$XDG_STATE_HOME/longpole/spool`, else below the home folder.
pub(crate) fn default_root(get: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .or_else(|| absolute("LOCALAPPDATA"))?;
    Some(state.join("longpole").join("spool"))
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
}

/// Whether a folder is one that nobody else can write to or swap under our hands.
#[cfg(unix)]
fn check_is_private(path: &Path, is_root: bool) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    // The folder a person names may be a link of theirs; below it nothing is.
    let metadata = if is_root { fs::metadata(path) } else { fs::symlink_metadata(path) }?;
    if metadata.is_symlink() {
        return Err(refused(path, "is a symbolic link"));
    }
    if !metadata.is_dir() {
        return Err(refused(path, "is no folder"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(path, "belongs to somebody else"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(refused(path, "can be written to by others"));
    }
    // In a folder where everybody may rename, only the sticky bit keeps ours in its place.
    if let Some(parent) = path.parent().filter(|_| is_root) {
        let mode = fs::metadata(parent)?.mode();
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(refused(parent, "can be written to by everybody"));
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_is_private(path: &Path, _is_root: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() { Ok(()) } else { Err(refused(path, "is no folder")) }
}

pub(super) fn make_folder(path: &Path, is_root: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(is_root);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    check_is_private(path, is_root)
}

/// Options for a file that only its owner may read and that is no symbolic link.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

impl ProcessFolder {
    /// Makes a folder for this process below `root`, which is made too if need be, and locks it.
    pub(crate) fn create(root: &Path, service: &str, random: u64) -> io::Result<ProcessFolder> {
        make_folder(root, true)?;
        make_folder(&root.join("v1"), false)?;
        let service = service_folder(root, service);
        make_folder(&service, false)?;
        let path = service.join(format!("{}-{}-{:08x}", boot_id(), std::process::id(), random as u32));
        make_folder(&path, false)?;
        // Locked before it has the name others look for, so that nobody adopts a folder that is being made.
        let new_lock = path.join(NEW_LOCK);
        let lock = private_file().write(true).create_new(true).open(&new_lock)?;
        lock.try_lock().map_err(io::Error::from)?;
        fs::rename(&new_lock, path.join(LOCK))?;
        Ok(ProcessFolder { path, _lock: lock, ack: None, open: None })
    }

    /// Takes over the folder of a process that is gone. `None` if it is not, or somebody else was faster.
    pub(crate) fn adopt(path: &Path) -> io::Result<Option<ProcessFolder>> {
        check_is_private(path, false)?;
        let lock = match private_file().write(true).open(path.join(LOCK)) {
            Ok(lock) => lock,
            // Being made this moment, or being removed: in either case not an orphan.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had the lock before may have delivered everything and removed the file.
        if !path.join(LOCK).exists() {
            return Ok(None);
        }
        Ok(Some(ProcessFolder { path: path.to_owned(), _lock: lock, ack: None, open: None }))
    }

    /// The folders of all processes of a service, oldest first.
    pub(crate) fn siblings(root: &Path, service: &str) -> io::Result<Vec<PathBuf>> {
        let folder = service_folder(root, service);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        check_is_private(&folder, false)?;
        let mut found: Vec<(Option<std::time::SystemTime>, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name() != "dead" && entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| (entry.metadata().and_then(|metadata| metadata.modified()).ok(), entry.path()))
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers and lengths of the segments that are there, in order.
    pub(crate) fn segments(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_SUFFIX));
            let Some(number) = number.and_then(|digits| digits.parse().ok()) else { continue };
            // The name in full, so that one file is not read under two numbers.
            if name.to_str() == Some(&segment_name(number)) && entry.file_type()?.is_file() {
                found.push((number, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The acknowledgement file; empty if there is none.
    pub(crate) fn read_ack(&self) -> Vec<u8> {
        read_file(&self.path.join(ACK), ACK_FILE).unwrap_or_default()
    }

    /// The file of open spans; empty if there is none.
    pub(crate) fn read_open(&self) -> Vec<u8> {
        read_file(&self.path.join(OPEN), MAX_OPEN_FILE).unwrap_or_default()
    }

    /// Whether the folder's files are still where they were made.
    pub(crate) fn is_there(&self) -> bool {
        self.path.join(LOCK).exists()
    }
}

/// Numbers of file systems over a network, or by a program, whose locks may not hold: NFS, SMB of three kinds, FUSE.
#[cfg(target_os = "linux")]
const NETWORK_FILE_SYSTEMS: [i64; 5] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546];

impl ProcessFolder {
    /// Whether locks may not hold here, so that two processes might send the same spans.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_on_a_network(&self) -> bool {
        // The numbers have 32 bits, the field as many as the platform likes.
        #[allow(clippy::useless_conversion, reason = "not on every platform")]
        let kind = rustix::fs::statfs(&self.path).map_or(0, |disk| i64::from(disk.f_type) & 0xffff_ffff);
        NETWORK_FILE_SYSTEMS.contains(&kind)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn is_on_a_network(&self) -> bool {
        false
    }
}

/// More open spans than fit are not kept.
pub(crate) const MAX_OPEN_FILE: u64 = 8 << 20;

/// Two slots.
const ACK_FILE: u64 = 2 * ACK_SLOT as u64;

fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = private_file().read(true).open(path)?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Eight digits that change with every start of the machine.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    if digits.len() == 8 { digits } else { "00000000".to_owned() }
}

impl Folder for ProcessFolder {
    type Segment = SegmentFile;

    fn create(&mut self, number: u64) -> io::Result<SegmentFile> {
        let path = self.path.join(segment_name(number));
        let file = private_file().write(true).create_new(true).open(path)?;
        Ok(SegmentFile { file: Arc::new(file), at: Some(0) })
    }

    fn read(&self, number: u64, len: u64) -> io::Result<Vec<u8>> {
        read_file(&self.path.join(segment_name(number)), len)
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        fs::remove_file(self.path.join(segment_name(number)))
    }

    fn keep_spare(&mut self, number: u64) -> io::Result<()> {
        fs::rename(self.path.join(segment_name(number)), self.path.join(SPARE))
    }

    fn use_spare(&mut self, number: u64, start: &[u8]) -> io::Result<SegmentFile> {
        let spare = self.path.join(SPARE);
        let file = private_file().write(true).open(&spare)?;
        let mut segment = SegmentFile { file: Arc::new(file), at: Some(0) };
        // Before it has the name others look for: what it held is never read as this segment's.
        segment.write(0, &[start])?;
        fs::rename(spare, self.path.join(segment_name(number)))?;
        Ok(segment)
    }

    fn remove_spare(&mut self) -> io::Result<()> {
        fs::remove_file(self.path.join(SPARE))
    }

    #[cfg(unix)]
    fn names(&self) -> Option<Arc<File>> {
        private_file().read(true).open(&self.path).ok().map(Arc::new)
    }

    #[cfg(not(unix))]
    fn names(&self) -> Option<Arc<File>> {
        None
    }

    fn write_ack(&mut self, slot: usize, bytes: &[u8; ACK_SLOT]) -> io::Result<()> {
        let file = match &mut self.ack {
            Some(file) => file,
            none => none
                .insert(private_file().write(true).create(true).truncate(false).open(self.path.join(ACK))?),
        };
        file.seek(SeekFrom::Start(slot.saturating_mul(ACK_SLOT) as u64))?;
        file.write_all(bytes)
    }

    fn replace_open(&mut self, bytes: Option<&[u8]>) -> io::Result<()> {
        self.open = None;
        let Some(bytes) = bytes else {
            return match fs::remove_file(self.path.join(OPEN)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        let new = self.path.join(NEW_OPEN);
        let mut file = private_file().write(true).create(true).truncate(true).open(&new)?;
        file.write_all(bytes)?;
        fs::rename(&new, self.path.join(OPEN))?;
        self.open = Some(file);
        Ok(())
    }

    fn append_open(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    #[cfg(unix)]
    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn remove_all(&mut self) -> io::Result<()> {
        for (number, _) in self.segments()? {
            self.remove(number)?;
        }
        for name in [SPARE, ACK, OPEN, NEW_OPEN, LOCK] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_dir(&self.path)
    }
}

/// A segment on a disk.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    file: Arc<File>,
    /// Where the next write goes, if that is known.
    at: Option<u64>,
}

impl Segment for SegmentFile {
    fn write(&mut self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        if self.at.take() != Some(offset) {
            (&*self.file).seek(SeekFrom::Start(offset))?;
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = slices.as_mut_slice();
        // Empty ones in front would look like a file that takes nothing.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match (&*self.file).write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.at = offset.checked_add(len as u64);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn handle(&self) -> Option<Arc<File>> {
        Some(self.file.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_service_has_a_folder_of_its_own_inside_the_root() {
        for (service, folder) in [
            ("agent_1", "agent_1"),
            ("", "%"),
            ("..", "%2e%2e"),
            ("a/b", "a%2fb"),
            ("%", "%25"),
            ("unknown_service:x", "unknown_service%3ax"),
        ] {
            assert_eq!(folder_name(service), folder);
        }
        assert!(folder_name(&"ü".repeat(500)).len() < 90);
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_adopted_once_its_process_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("spool");
        let mut own = ProcessFolder::create(&root, "agent", 1).unwrap();
        own.create(1).unwrap().write(0, &[b"by", b"", b"tes"]).unwrap();
        let path = own.path().to_owned();
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!([mode(&root), mode(&path)], [0o700; 2]);
            assert_eq!([mode(&path.join("LOCK")), mode(&path.join("000000000001.seg"))], [0o600; 2]);
        }
        assert_eq!(ProcessFolder::siblings(&root, "agent").unwrap(), std::slice::from_ref(&path));
        assert!(ProcessFolder::adopt(&path).unwrap().is_none(), "its owner lives");
        drop(own);
        let adopted = ProcessFolder::adopt(&path).unwrap().unwrap();
        assert!(ProcessFolder::adopt(&path).unwrap().is_none(), "adopted already");
        assert_eq!(adopted.segments().unwrap(), [(1, 5)]);
        assert_eq!(adopted.read(1, 3).unwrap(), b"byt");
        let mut adopted = adopted;
        adopted.remove_all().unwrap();
        assert!(!path.exists());
        assert!(ProcessFolder::siblings(&root, "agent").unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn folders_that_others_can_write_to_or_swap_are_not_used() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let place = tempfile::tempdir().unwrap();
        let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let error = |root: &Path| ProcessFolder::create(root, "agent", 1).unwrap_err().to_string();

        let shared = place.path().join("shared");
        fs::create_dir(&shared).unwrap();
        set_mode(&shared, 0o777).unwrap();
        assert!(error(&shared).contains("can be written to by others"));
        assert!(error(&shared.join("inside")).contains("can be written to by everybody"));

        let root = place.path().join("root");
        fs::create_dir(&root).unwrap();
        symlink(place.path(), root.join("v1")).unwrap();
        assert!(error(&root).contains("symbolic link"));

        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(error(&file).contains("no folder"));
    }

    #[cfg(unix)]
    #[test]
    fn files_that_are_links_are_not_followed() {
        use std::os::unix::fs::symlink;

        let place = tempfile::tempdir().unwrap();
        let mut own = ProcessFolder::create(&place.path().join("spool"), "agent", 1).unwrap();
        let secret = place.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, own.path().join("ACK")).unwrap();
        symlink(&secret, own.path().join("000000000001.seg")).unwrap();
        assert!(own.write_ack(0, &[1; ACK_SLOT]).is_err());
        assert!(own.read(1, 100).is_err());
        assert!(own.create(1).is_err());
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
    }

    #[test]
    fn spools_are_in_the_state_folder() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            }
        };
        let place = |pairs| default_root(env(pairs)).map(|path| path.display().to_string());
        assert_eq!(place(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]).unwrap(), "/s/longpole/spool");
        assert_eq!(place(&[("HOME", "/h")]).unwrap(), "/h/.local/state/longpole/spool");
        assert_eq!(
            place(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]).unwrap(),
            "/h/.local/state/longpole/spool"
        );
        assert_eq!(place(&[]), None);
    }
}
