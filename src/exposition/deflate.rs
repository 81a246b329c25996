//! Deflate for lines that are like the one before them, as those of a family are: what a line shares with its
//! predecessor becomes a reference to it, all else goes as it is.
//!
//! General encoders look for references in 32 KiB of text and count what they find; this one knows where they are and
//! how often bytes occur. It writes one block (RFC 1951) with codes made once, so there is nothing to be counted first.
//! Whatever it is given it encodes truly: every reference comes of a comparison, and every byte has a code.

/// A reference to fewer bytes costs more than they do.
const WORTH_IT: usize = 4;
const LONGEST: usize = 258;
const FARTHEST: usize = 32 << 10;

/// How many bits the code of each byte (0 to 255), of the block's end (256) and of each length of a reference has, as
/// hexadecimal digits: by Huffman's algorithm, at most 12 bits, over a page of 3,000 simulated executions. Execution IDs
/// are most of what no reference covers, so a hexadecimal digit has 5 bits.
const LITERAL_BITS: [u8; 286] = *b"\
    cccccccccc7ccccccccccccccccccccc8c4bcbbccccb94785555555555acc9cb\
    c9c887aac9aaaa89ac8989a8ccccacc9c555646786c967566b6666a7ba8bc8bc\
    cccccccccccccccccccccccbccccbccbcccccbccccccbcccccccccbccccccccc\
    cccbccccccccccccccccccccccccccccccccccbccccccccccccccccccccccccc\
    cc8cc7a97ac7ccbbbccbbc989cc8cc";

/// The same for the distances: nearly all are those of lines of 128 to 384 bytes.
const DISTANCE_BITS: [u8; 30] = *b"888888888887773127888888888887";

/// A code, or a code and its extra bits: the bits, lowest first, and how many.
type Code = (u32, u32);

const SYMBOLS: [Code; 286] = codes(&LITERAL_BITS);
const DISTANCES: [Code; 30] = codes(&DISTANCE_BITS);
const END: usize = 256;

/// The codes of these lengths: shorter before longer, and in order within a length (RFC 1951, 3.2.2).
const fn codes<const N: usize>(digits: &[u8; N]) -> [Code; N] {
    let mut codes = [(0, 0); N];
    let (mut next, mut bits) = (0, 1);
    while bits < 16 {
        let mut symbol = 0;
        while symbol < N {
            if digit(digits[symbol]) == bits {
                codes[symbol] = reversed(next, bits);
                next += 1;
            }
            symbol += 1;
        }
        (next, bits) = (next << 1, bits + 1);
    }
    codes
}

const fn digit(hexadecimal: u8) -> u32 {
    match (hexadecimal as char).to_digit(16) {
        Some(digit) => digit,
        None => panic!("not a hexadecimal digit"),
    }
}

/// Huffman codes are sent from their highest bit on, all else from the lowest.
const fn reversed(code: u32, bits: u32) -> Code {
    (code.reverse_bits() >> (32 - bits), bits)
}

/// By length; references have at least three bytes.
const LENGTHS: [Code; LONGEST + 1] = {
    let mut codes = [(0, 0); LONGEST + 1];
    let (mut length, mut symbol) = (3, 257);
    while symbol < 285 {
        // Four symbols for each number of extra bits, which is at first none for eight.
        let extra = if symbol < 265 { 0 } else { (symbol as u32 - 261) / 4 };
        let (code, bits) = SYMBOLS[symbol];
        let mut offset = 0;
        while offset < 1 << extra && length < LONGEST {
            codes[length] = (code | offset << bits, bits + extra);
            (length, offset) = (length + 1, offset + 1);
        }
        symbol += 1;
    }
    codes[LONGEST] = SYMBOLS[285];
    codes
};

fn distance(distance: usize) -> Code {
    let value = distance as u32 - 1;
    if value < 4 {
        return DISTANCES[value as usize];
    }
    let extra = value.ilog2() - 1;
    let (code, bits) = DISTANCES[(2 * (extra + 1) + (value >> extra & 1)) as usize];
    (code | (value & ((1 << extra) - 1)) << bits, bits + extra)
}

/// A block under way.
#[derive(Debug, Default)]
pub(super) struct Deflate {
    /// Bits that do not make up four bytes yet, lowest first, and how many.
    bits: (u64, u32),
}

impl Deflate {
    /// Begins the block, the last one, and sends the lengths of its codes, for which each length has one of four bits.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        const HEAD: [Code; 4] = [(0b101, 3), (286 - 257, 5), (30 - 1, 5), (19 - 4, 4)];
        HEAD.into_iter().for_each(|code| self.put(out, code));
        // Three marks of repetition, which are not used, and the sixteen lengths.
        (0..19).for_each(|mark| self.put(out, (if mark < 3 { 0 } else { 4 }, 3)));
        let digits = LITERAL_BITS.iter().chain(&DISTANCE_BITS);
        digits.for_each(|bits| self.put(out, reversed(digit(*bits), 4)));
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
        self.put(out, SYMBOLS[END]);
        let (bits, count) = std::mem::take(&mut self.bits);
        out.extend_from_slice(&bits.to_le_bytes()[..count.div_ceil(8) as usize]);
    }

    fn literals(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        text.iter().for_each(|byte| self.put(out, SYMBOLS[usize::from(*byte)]));
    }

    fn refer(&mut self, out: &mut Vec<u8>, mut length: usize, back: usize) {
        let distance = distance(back);
        while length > 0 {
            // Not to leave one or two bytes, for which there is no code.
            let part = if length > LONGEST && length < LONGEST + 3 { LONGEST - 3 } else { length.min(LONGEST) };
            self.put(out, LENGTHS[part]);
            self.put(out, distance);
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
