package s3

import (
	"crypto/md5" //nolint:gosec // what S3 and its servers compare
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/sdk"
)

// sums puts into requests the checksum that the service is to compare, as a
// header: never as a trailer.
type sums struct{ crc32, md5 bool }

func newSums(attribute string) sums {
	switch attribute {
	case checksumMD5:
		return sums{md5: true}
	case checksumNone:
		return sums{}
	default:
		return sums{crc32: true}
	}
}

// of returns the checksums of one request's data; nil for those not sent.
func (s sums) of(data []byte) (crc, contentMD5 *string) {
	if s.crc32 {
		crc = encodeCRC(crc32.ChecksumIEEE(data))
	}
	if s.md5 {
		sum := md5.Sum(data) //nolint:gosec // as above
		contentMD5 = aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	}
	return crc, contentMD5
}

// create asks for a checksum of the whole object.
func (s sums) create(in *s3.CreateMultipartUploadInput) {
	if s.crc32 {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject
	}
}

// complete lets the service compare the checksum of the whole object.
func (s sums) complete(in *s3.CompleteMultipartUploadInput, whole uint32) {
	if s.crc32 {
		in.ChecksumCRC32, in.ChecksumType = encodeCRC(whole), types.ChecksumTypeFullObject
	}
}

// encodeCRC is the form that S3 takes: base64 of the big-endian bytes.
func encodeCRC(sum uint32) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)))
}

// compareCRC holds the service's checksum against ours. A server that returns
// none has still checked the one that was sent, or knows no checksums.
func compareCRC(name string, sent, returned *string) error {
	if sent == nil || returned == nil || *returned == *sent {
		return nil
	}
	return sdk.Retryable(fmt.Errorf("write %s: the service stored bytes with CRC-32 %s, sent were bytes with %s", name, *returned, *sent), 0)
}
