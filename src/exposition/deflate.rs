//! Deflate for lines that are like the one before them, as those of a family are: what a line shares with its
//! predecessor becomes a reference to it, all else goes as it is.
//!
//! General encoders look for references in 32 KiB of text; this one knows where they are. It writes one block with
//! the fixed codes of RFC 1951, so there is nothing to be counted or sent first. Whatever it is given it encodes
//! truly: every reference comes of a comparison.

/// A reference to fewer bytes costs more than they do.
const WORTH_IT: usize = 4;
const LONGEST: usize = 258;
const FARTHEST: usize = 32 << 10;

/// The code of a literal or a length, or a code and its extra bits: the bits, lowest first, and how many.
type Code = (u32, u32);

const LITERALS: [Code; 256] = {
    let mut codes = [(0, 0); 256];
    let mut literal = 0;
    while literal < 256 {
        let value = literal as u32;
        codes[literal] = if literal < 144 { reversed(0x30 + value, 8) } else { reversed(0x190 + value - 144, 9) };
        literal += 1;
    }
    codes
};

/// By length; references have at least three bytes.
const LENGTHS: [Code; LONGEST + 1] = {
    let mut codes = [(0, 0); LONGEST + 1];
    let (mut length, mut symbol) = (3, 257);
    while symbol < 285 {
        // Four symbols for each number of extra bits, which is at first none for eight.
        let extra = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        let (code, bits) = if symbol < 280 { reversed(symbol - 256, 7) } else { reversed(0xc0 + symbol - 280, 8) };
        let mut offset = 0;
        while offset < 1 << extra && length < LONGEST {
            codes[length] = (code | offset << bits, bits + extra);
            (length, offset) = (length + 1, offset + 1);
        }
        symbol += 1;
    }
    codes[LONGEST] = reversed(0xc0 + 285 - 280, 8);
    codes
};

/// Huffman codes are sent from their highest bit on, all else from the lowest.
const fn reversed(code: u32, bits: u32) -> Code {
    (code.reverse_bits() >> (32 - bits), bits)
}

fn distance(distance: usize) -> Code {
    let value = distance as u32 - 1;
    if value < 4 {
        return reversed(value, 5);
    }
    let extra = value.ilog2() - 1;
    let (code, bits) = reversed(2 * (extra + 1) + (value >> extra & 1), 5);
    (code | (value & ((1 << extra) - 1)) << bits, bits + extra)
}

/// A block under way.
#[derive(Debug)]
pub(super) struct Deflate {
    /// Bits that do not make up four bytes yet, lowest first, and how many.
    bits: (u64, u32),
}

impl Deflate {
    /// Begins the block: the last one, with fixed codes.
    pub(super) fn new() -> Self {
        Self { bits: (0b011, 3) }
    }

    /// Encodes whole lines. References stay within one call.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        // The line that begins at `line` is written up to `at`; `like` is the place in the one before that matches.
        let (mut line, mut at, mut like) = (0, 0, 0);
        while at < text.len() {
            let same = shared(&text[at..], &text[like..line]);
            if same >= WORTH_IT && at - like <= FARTHEST {
                self.refer(out, same, at - like);
                (at, like) = (at + same, like + same);
            } else {
                // What differs is a value as a rule: it goes whole, and the lines are alike again behind its quote.
                let end = text[at..].iter().position(|byte| matches!(byte, b'"' | b'\n'));
                let end = end.map_or(text.len(), |len| at + len + 1);
                self.literals(out, &text[at..end]);
                let quote = text[like..line].iter().position(|byte| *byte == b'"');
                (at, like) = (end, quote.map_or(line, |len| like + len + 1));
            }
            if text[at - 1] == b'\n' {
                (like, line) = (line, at);
            }
        }
    }

    /// Ends the block and fills up its last byte.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.put(out, reversed(0, 7));
        let (bits, count) = std::mem::take(&mut self.bits);
        out.extend_from_slice(&bits.to_le_bytes()[..count.div_ceil(8) as usize]);
    }

    fn literals(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        text.iter().for_each(|byte| self.put(out, LITERALS[usize::from(*byte)]));
    }

    fn refer(&mut self, out: &mut Vec<u8>, mut length: usize, back: usize) {
        let (distance, distance_bits) = distance(back);
        while length > 0 {
            // Not to leave one or two bytes, for which there is no code.
            let part = if length > LONGEST && length < LONGEST + 3 { LONGEST - 3 } else { length.min(LONGEST) };
            let (code, bits) = LENGTHS[part];
            self.put(out, (code | distance << bits, bits + distance_bits));
            length -= part;
        }
    }

    /// Writes up to 32 bits.
    #[inline]
    fn put(&mut self, out: &mut Vec<u8>, (code, bits): Code) {
        self.bits.0 |= u64::from(code) << self.bits.1;
        self.bits.1 += bits;
        if self.bits.1 >= 32 {
            out.extend_from_slice(&(self.bits.0 as u32).to_le_bytes());
            self.bits = (self.bits.0 >> 32, self.bits.1 - 32);
        }
    }
}

/// How many bytes two texts begin with alike.
#[inline]
fn shared(one: &[u8], other: &[u8]) -> usize {
    let (ones, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let mut same = 0;
    for (one, other) in ones.iter().zip(others) {
        let different = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return same + different.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + one[same..].iter().zip(&other[same..]).take_while(|(one, other)| one == other).count()
}
