//! Opening a skeleton piece by piece, in bounded memory: nothing of a piece is handed on before it is authentic.

use std::cell::RefCell;

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::encoding::Reader;
use super::head::{FIXED, Head};
use super::piece::{BEFORE, Lock, PartOf};
use super::skeleton::Body;
use super::{OpenError, SealingKeys};

/// A frame may ask for a window of 8 MiB, four times what is written.
const WINDOW_LOG: u32 = 23;
/// No head is larger: paths take at most [`super::head::MAX_PATHS`], and all else per hole is shorter than a path.
const MOST: u32 = 1 << 30;
/// How much of the text is handed on at once.
const BUFFER: u64 = 128 * 1024;

/// Opens the head of a skeleton.
pub struct HeadOpener {
    pieces: Pieces,
    gathered: Vec<u8>,
}

/// What there is after a piece.
pub enum Fed {
    /// The head goes on in the next piece.
    More(HeadOpener),
    /// The head is whole.
    Open(Opened),
}

/// An open head.
pub struct Opened {
    /// The head.
    pub head: Head,
    /// Its encoding, for the [`super::mac`].
    pub encoded: Vec<u8>,
    /// Opens the text, from the next piece on.
    pub text: TextOpener,
}

/// Opens the text of a skeleton, or the difference that stands for it.
pub struct TextOpener {
    pieces: Pieces,
    context: Context,
    size: u64,
    given: u64,
    ended: bool,
}

impl HeadOpener {
    /// An opener before its first piece.
    #[must_use]
    pub fn new(keys: &SealingKeys, body: &Body) -> Self {
        Self { pieces: Pieces { lock: Lock::of(keys, body), next: 0, count: None }, gathered: Vec::new() }
    }

    /// Takes the next stored piece, from the first on.
    ///
    /// # Errors
    /// It is not the next piece of this body.
    pub fn feed(mut self, mut piece: Vec<u8>) -> Result<Fed, OpenError> {
        let plain = self.pieces.open(&mut piece, PartOf::Head)?;
        self.gathered.extend_from_slice(plain);
        let mut reader = Reader(&self.gathered);
        let payload = reader.u64()?;
        let (size, packed) = (u32::from_be_bytes(reader.array()?), u32::from_be_bytes(reader.array()?));
        let fixed: [u8; FIXED] = reader.array()?;
        let frame = reader.0;
        if (frame.len() as u64) < u64::from(packed) {
            return Ok(Fed::More(self));
        }
        let table = usize::try_from(size.min(MOST)).ok().and_then(|size| size.checked_sub(FIXED)).ok_or(OpenError)?;
        if frame.len() as u64 != u64::from(packed) || size > MOST {
            return Err(OpenError);
        }
        let mut encoded = fixed.to_vec();
        let (mut context, mut rest) = (Context::take()?, Vec::with_capacity(table));
        context.inner().decompress(&mut rest, frame).map_err(|_| OpenError)?;
        encoded.append(&mut rest);
        if encoded.len() != FIXED + table {
            return Err(OpenError);
        }
        let head = Head::decode(&encoded)?;
        context.inner().reset(ResetDirective::SessionOnly).map_err(|_| OpenError)?;
        let text = TextOpener { pieces: self.pieces, context, size: payload, given: 0, ended: false };
        Ok(Fed::Open(Opened { head, encoded, text }))
    }
}

impl TextOpener {
    /// How many bytes will come out, if all is well.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next stored piece, and hands what is in it to `out` in parts, which returns false to stop.
    ///
    /// # Errors
    /// It is not the next piece of this body.
    pub fn feed(&mut self, mut piece: Vec<u8>, out: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), OpenError> {
        let plain = self.pieces.open(&mut piece, PartOf::Text)?;
        if self.ended {
            return Err(OpenError);
        }
        let mut input = InBuffer::around(plain);
        // At least a byte of room, so that a text that is longer than it should be shows.
        let room = BUFFER.min(self.size - self.given).max(1);
        let mut buffer = vec![0; usize::try_from(room).map_err(|_| OpenError)?];
        loop {
            let mut output = OutBuffer::around(buffer.as_mut_slice());
            let hint = self.context.inner().decompress_stream(&mut output, &mut input).map_err(|_| OpenError)?;
            let (count, full) = (output.pos(), output.pos() == output.capacity());
            self.ended = hint == 0;
            self.given += count as u64;
            if self.given > self.size {
                return Err(OpenError);
            }
            if count > 0 && !out(&buffer[..count]) {
                return Ok(());
            }
            let taken = input.pos() == plain.len();
            match self.ended {
                true if taken => return Ok(()),
                true => return Err(OpenError),
                false if taken && !full => return Ok(()),
                false => {}
            }
        }
    }

    /// All pieces are in: is the text whole?
    ///
    /// # Errors
    /// Pieces are missing.
    pub fn finish(&self) -> Result<(), OpenError> {
        let all = self.pieces.count == Some(self.pieces.next);
        if all && self.ended && self.given == self.size { Ok(()) } else { Err(OpenError) }
    }
}

thread_local! {
    /// To make a context takes longer than to unpack a small document: it asks the processor what it can do, and a virtual one has to ask its host.
    static CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// A context for unpacking, which the thread that drops it keeps for the next unless it is large.
struct Context(Option<DCtx<'static>>);

impl Context {
    const LARGE: usize = 2 << 20;

    fn take() -> Result<Self, OpenError> {
        let mut context = CONTEXT.take().unwrap_or_else(DCtx::create);
        context.reset(ResetDirective::SessionAndParameters).map_err(|_| OpenError)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(|_| OpenError)?;
        Ok(Self(Some(context)))
    }

    fn inner(&mut self) -> &mut DCtx<'static> {
        self.0.as_mut().expect("only drop takes it")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(context) = self.0.take().filter(|context| context.sizeof() <= Self::LARGE) {
            // Where the thread ends, nothing is kept.
            let _ = CONTEXT.try_with(|kept| kept.borrow_mut().replace(context));
        }
    }
}

/// The pieces in their order.
struct Pieces {
    lock: Lock,
    next: u32,
    count: Option<u32>,
}

impl Pieces {
    fn open<'p>(&mut self, piece: &'p mut Vec<u8>, part: PartOf) -> Result<&'p [u8], OpenError> {
        let (of, count) = self.lock.open(piece, self.next)?;
        if of != part || *self.count.get_or_insert(count) != count {
            return Err(OpenError);
        }
        self.next += 1;
        Ok(&piece[BEFORE..])
    }
}
