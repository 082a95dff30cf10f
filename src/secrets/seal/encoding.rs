//! The small encodings that what is sealed is made of.

use super::OpenError;

/// `lp(x)`: u64 big-endian length ‖ x, where x is the parts in a row.
pub(super) fn lp(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&(length as u64).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Seven bits a byte, the lowest first, the high bit set on all but the last; never longer than needed.
pub(super) fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// 0, −1, 1, −2, 2, … as 0, 1, 2, 3, 4, …
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// What [`zigzag`] took.
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Reads what stands in bytes, and never beyond them.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn bytes(&mut self, length: u64) -> Result<&'b [u8], OpenError> {
        let length = usize::try_from(length).map_err(|_| OpenError)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(OpenError)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], OpenError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(OpenError)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, OpenError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u64(&mut self) -> Result<u64, OpenError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Only the shortest form, and only what fits 64 bits.
    pub(super) fn varint(&mut self) -> Result<u64, OpenError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || byte == 0 && shift > 0 {
                return Err(OpenError);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(OpenError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back_and_have_one_form_each(number: u64, noise: [u8; 10]) {
            let mut bytes = Vec::new();
            varint(&mut bytes, number);
            prop_assert_eq!(Reader(&bytes).varint(), Ok(number));
            prop_assert_eq!(unzigzag(zigzag(number as i64)), number as i64);
            let mut reader = Reader(&noise);
            if let Ok(read) = reader.varint() {
                let mut again = Vec::new();
                varint(&mut again, read);
                prop_assert_eq!(&noise[..noise.len() - reader.0.len()], again);
            }
        }
    }

    #[test]
    fn numbers_beyond_64_bits_and_padded_ones_are_refused() {
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).varint(), Ok(u64::MAX));
        for bytes in [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..], &[0x80, 0x00], &[0x80], &[0x80; 11], &[]]
        {
            assert_eq!(Reader(bytes).varint(), Err(OpenError), "{bytes:x?}");
        }
    }
}
