// Package inflate decompresses DEFLATE (RFC 1951) that is in memory as a whole, into a
// buffer of the caller's. Without a window of its own, and without a reader, it takes about
// half of the time of a decoder of streams. Streams that are not in memory are for package
// flate.
//
// It accepts the streams that compress/flate accepts, and gives the same bytes. It writes nothing behind
// the buffer's end, so that the caller decides how much a body may become: ErrFull asks for
// a larger buffer.
package inflate
