// Package batch holds the unit that travels from the host to a destination:
// some rows of one stream and one date, rendered and compressed once.
//
// A destination gets a Reader for each partition. What stores files copies the
// payloads with a GzipWriter, which costs no compression:
//
//	for {
//		b, err := r.Next()
//		if err == io.EOF {
//			break // the partition is complete
//		}
//		if err != nil {
//			return err // the stream was cut: not an end
//		}
//		if err := gz.WriteBatch(b); err != nil {
//			return err
//		}
//	}
//
// What needs rows asks for them, and they are decoded then:
//
//	for line, err := range b.Lines() { … }
//
// The package is not a codec library: it reads and joins what the host has
// written, and compresses nothing of its own.
package batch
