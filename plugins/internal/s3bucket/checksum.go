package s3bucket

import (
	"crypto/md5" //nolint:gosec // S3 servers compare it
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/sdk"
)

// sums selects the checksums that requests carry for the service to compare. They
// are sent as headers, never as trailers.
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

// of returns the checksums of one request's data. nil: the checksum is not sent.
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

// create asks the service for a checksum of the whole object.
func (s sums) create(in *s3.CreateMultipartUploadInput) {
	if s.crc32 {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject
	}
}

// complete sends the checksum of the whole object for the service to compare.
func (s sums) complete(in *s3.CompleteMultipartUploadInput, whole uint32) {
	if s.crc32 {
		in.ChecksumCRC32, in.ChecksumType = encodeCRC(whole), types.ChecksumTypeFullObject
	}
}

// encodeCRC encodes a CRC-32 for S3: base64 of the big-endian bytes.
func encodeCRC(sum uint32) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)))
}

// decodeCRC is the inverse of encodeCRC. It returns nil for no checksum, and for
// one in another form, such as that of an object that was composed of parts.
func decodeCRC(encoded *string) *uint32 {
	data, err := base64.StdEncoding.DecodeString(aws.ToString(encoded))
	if err != nil || len(data) != 4 {
		return nil
	}
	sum := binary.BigEndian.Uint32(data)
	return &sum
}

// compareCRC compares the service's checksum with the one that was sent. A server
// that returns none has checked the one it received, or supports no checksums.
func compareCRC(name string, sent, returned *string) error {
	if sent == nil || returned == nil || *returned == *sent {
		return nil
	}
	return sdk.Retryable(fmt.Errorf("write %s: the service stored bytes with CRC-32 %s, sent were bytes with %s", name, *returned, *sent), 0)
}
