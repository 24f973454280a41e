//! Scanner of the frames in one direction of an HTTP/2 connection (RFC 9113, 4.1). It reads frame headers and skips
//! payloads.

/// Length of the client's connection preface.
pub(super) const PREFACE_BYTES: usize = 24;
/// Length of a frame header.
const HEADER_BYTES: usize = 9;
/// Type of a DATA frame.
pub(super) const DATA_FRAME: u8 = 0x0;
/// Type of a HEADERS frame.
pub(super) const HEADERS_FRAME: u8 = 0x1;
/// Type of a GOAWAY frame.
const GOAWAY_FRAME: u8 = 0x7;

/// Header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Type.
    pub kind: u8,
    /// Length of the payload, in bytes.
    pub length: usize,
    /// Stream; 0 for the connection.
    pub stream: u32,
}

/// Position in a sequence of frames.
#[derive(Debug)]
pub(super) struct FrameScanner {
    bytes_to_skip: usize,
    header: [u8; HEADER_BYTES],
    header_bytes_read: usize,
}

impl FrameScanner {
    /// Creates a scanner of bytes that start with a number of other bytes.
    pub fn behind(bytes_to_skip: usize) -> Self {
        Self { bytes_to_skip, header: [0; HEADER_BYTES], header_bytes_read: 0 }
    }

    /// Reads bytes up to the end of the next frame header; returns the header, and the bytes after it. Returns `None`
    /// when the bytes end before.
    pub fn next_header<'b>(&mut self, bytes: &'b [u8]) -> Option<(FrameHeader, &'b [u8])> {
        let skipped = self.bytes_to_skip.min(bytes.len());
        self.bytes_to_skip -= skipped;
        let bytes = bytes.get(skipped..).unwrap_or_default();
        for (to, from) in self.header.iter_mut().skip(self.header_bytes_read).zip(bytes.iter().copied()) {
            *to = from;
        }
        let copied = bytes.len().min(HEADER_BYTES - self.header_bytes_read);
        self.header_bytes_read += copied;
        if self.header_bytes_read < HEADER_BYTES {
            return None;
        }
        self.header_bytes_read = 0;
        let [length @ .., kind, _, _, _, _, _] = self.header;
        let [.., s0, s1, s2, s3] = self.header;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.bytes_to_skip = length;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
        Some((FrameHeader { kind, length, stream }, bytes.get(copied..).unwrap_or_default()))
    }

    /// Returns how many bytes are known to be missing until the end of the frame; 0 between two frames.
    pub fn bytes_missing(&self) -> usize {
        if self.header_bytes_read > 0 { HEADER_BYTES - self.header_bytes_read } else { self.bytes_to_skip }
    }
}

/// Encodes a GOAWAY frame (RFC 9113, 6.8).
pub(super) fn goaway_frame(last_stream: u32, error: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    let header = [0, 0, 8, GOAWAY_FRAME, 0, 0, 0, 0, 0];
    let fields = header.into_iter().chain(last_stream.to_be_bytes()).chain(error.to_be_bytes());
    for (to, from) in frame.iter_mut().zip(fields) {
        *to = from;
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_pieces_of_any_size() {
        let frames = [&[1, 2, 3][..], &goaway_frame(7, 11), &[0, 0, 0, 4, 1, 0x80, 0, 0, 5]].concat();
        for size in 1..frames.len() {
            let (mut scanner, mut found) = (FrameScanner::behind(3), Vec::new());
            for mut piece in frames.chunks(size) {
                while let Some((header, rest)) = scanner.next_header(piece) {
                    found.push(header);
                    piece = rest;
                }
            }
            let goaway = FrameHeader { kind: GOAWAY_FRAME, length: 8, stream: 0 };
            assert_eq!(found, [goaway, FrameHeader { kind: 4, length: 0, stream: 5 }]);
            assert_eq!(scanner.bytes_missing(), 0);
        }
    }

    #[test]
    fn the_end_of_a_frame_is_known() {
        let (mut scanner, frame) = (FrameScanner::behind(0), goaway_frame(0, 0));
        for (from, to, missing) in [(0, 4, 5), (4, 9, 8), (9, 15, 2), (15, 17, 0)] {
            scanner.next_header(&frame[from..to]);
            assert_eq!(scanner.bytes_missing(), missing);
        }
    }
}
