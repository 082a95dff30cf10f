//! Room on the disk that is kept for one thing: the rows of the audit about reads of opened secrets. On a full disk reading goes on, and every
//! such read must still leave its row; so the file is given up then, and made again as soon as there is room.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file that keeps the room.
pub(super) struct Reserve {
    file: PathBuf,
    size: u64,
    held: bool,
}

/// Bytes that no file system leaves out.
const FILLING: [u8; 4096] = [0x5a; 4096];

impl Reserve {
    /// The reserve beside a database; not there yet.
    pub(super) fn beside(database: &Path, size: u64) -> Self {
        Self { file: database.with_file_name("audit.reserve"), size, held: false }
    }

    /// Whether the room is kept.
    pub(super) fn held(&self) -> bool {
        self.held
    }

    /// Makes the file, if it is not there in its full size.
    pub(super) fn make(&mut self) -> io::Result<()> {
        if self.held {
            return Ok(());
        }
        let there = std::fs::metadata(&self.file).map_or(0, |about| about.len());
        if there != self.size
            && let Err(error) = self.write()
        {
            // Half of it is room that somebody else needs.
            let _ = std::fs::remove_file(&self.file);
            return Err(error);
        }
        self.held = true;
        Ok(())
    }

    /// Gives the room up. False: there is none.
    pub(super) fn give_up(&mut self) -> bool {
        let was = std::mem::take(&mut self.held);
        was && std::fs::remove_file(&self.file).is_ok()
    }

    fn write(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.file)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, self.size) {
            Ok(()) => return file.sync_all(),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let mut left = self.size;
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(FILLING.len());
            file.write_all(&FILLING[..some])?;
            left -= some as u64;
        }
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_made_once_given_up_once_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.reserve");
        let size = || std::fs::metadata(&file).map_or(0, |about| about.len());
        let mut reserve = Reserve::beside(&folder.path().join("leasehold.db"), 10_000);
        assert!(!reserve.held() && !reserve.give_up());
        reserve.make().unwrap();
        assert_eq!((reserve.held(), size()), (true, 10_000));
        assert!(reserve.give_up() && !reserve.give_up());
        assert_eq!((reserve.held(), size()), (false, 0));
        // Half of one, as a crash leaves it, is none.
        std::fs::write(&file, b"half").unwrap();
        reserve.make().unwrap();
        assert_eq!((reserve.held(), size()), (true, 10_000));
    }
}
