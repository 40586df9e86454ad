//! Requests a backend has refused for good, kept for a person to look at.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{fs, time::SystemTime};

use super::folder::{make_folder, private_file, service_folder};
use crate::random::random_id;

/// Of all refused requests of a service; beyond, the oldest go.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
const SUFFIX: &str = ".otlp";

/// Keeps a request, an `ExportTraceServiceRequest`, in the folder `dead` of its service. Gives its path.
pub(crate) fn bury(root: &Path, service: &str, request: &[u8]) -> io::Result<PathBuf> {
    make_folder(root, true)?;
    make_folder(&root.join("v1"), false)?;
    let service = service_folder(root, service);
    make_folder(&service, false)?;
    let folder = service.join("dead");
    make_folder(&folder, false)?;
    make_room(&folder, request.len() as u64)?;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("{:020}-{:08x}{SUFFIX}", since_epoch.as_nanos(), random_id() as u32);
    let path = folder.join(name);
    private_file().write(true).create_new(true).open(&path)?.write_all(request)?;
    Ok(path)
}

fn make_room(folder: &Path, needed: u64) -> io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.ends_with(SUFFIX)) {
            kept.push((entry.file_name(), entry.metadata()?.len()));
        }
    }
    kept.sort();
    let mut bytes: u64 = kept.iter().map(|(_, len)| *len).fold(needed, u64::saturating_add);
    for (name, len) in kept {
        if bytes <= MAX_BYTES {
            break;
        }
        fs::remove_file(folder.join(name))?;
        bytes = bytes.saturating_sub(len);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_requests_are_kept_until_newer_ones_need_the_room() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("spool");
        let third = vec![1; (MAX_BYTES / 3) as usize];
        let paths: Vec<PathBuf> = (0..4).map(|_| bury(&root, "agent", &third).unwrap()).collect();
        let there: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!(there, [false, true, true, true]);
        assert_eq!(fs::read(&paths[3]).unwrap(), third);
    }
}
