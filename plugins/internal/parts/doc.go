// Package parts cuts a stream of bytes into parts of one size and sends each in
// the background while the next one is filled. The destinations whose services
// take large objects in parts share it: parts of S3, blocks of Azure, chunks of
// Cloud Storage.
//
// Its memory is that of a Pool, whatever the number of streams, their size and
// the number of CPUs. The package makes no request and knows no service; retries
// and deadlines belong to the function that sends a part.
package parts
