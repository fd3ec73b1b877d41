// Package batch holds the unit that travels from the host to a destination:
// some rows of one stream and one date, rendered and compressed once.
//
// A destination gets a Reader for each partition. A destination that stores
// files copies the payloads with a GzipWriter, which compresses nothing:
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
// A destination that needs single rows decodes them:
//
//	for line, err := range b.Lines() { … }
//
// The package is not a codec library: it reads and joins batches that the host
// has written, and compresses no rows itself.
package batch
