package gcp

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"regexp"
)

// BucketName is the form of the name of a bucket of Cloud Storage.
var BucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

// Castagnoli is the polynomial of Cloud Storage's checksums, CRC-32C.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeCRC returns Cloud Storage's form of a CRC-32C: base64 of the big-endian bytes.
func EncodeCRC(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}
