package snowflake

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
)

// keyError is the error of a private key; attribute is the one to correct.
type keyError struct{ attribute, text string }

func (e *keyError) Error() string { return e.text }

func keyAttribute(err error) string {
	if e := new(keyError); errors.As(err, &e) {
		return e.attribute
	}
	return "private_key"
}

func badKey(format string, values ...any) error {
	return &keyError{"private_key", fmt.Sprintf(format, values...)}
}

func badPassphrase(text string) error { return &keyError{"private_key_passphrase", text} }

// parseKey reads an RSA key from PEM: PKCS#8, encrypted with a passphrase or not. Its
// errors show nothing of the key.
func parseKey(text, passphrase string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, badKey("it is not PEM: it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN ENCRYPTED PRIVATE KEY-----")
	}
	der := block.Bytes
	switch block.Type {
	case "PRIVATE KEY":
		if passphrase != "" {
			return nil, badPassphrase("the key is not encrypted, and private_key_passphrase is set: remove it")
		}
	case "ENCRYPTED PRIVATE KEY":
		if passphrase == "" {
			return nil, badPassphrase("the key is encrypted: set private_key_passphrase")
		}
		var err error
		if der, err = decryptKey(der, []byte(passphrase)); err != nil {
			return nil, err
		}
	default:
		return nil, badKey("it is a %s, and must be PKCS#8: convert it with openssl pkcs8 -topk8 -in key.pem -out key.p8", block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, badKey("it is not a PKCS#8 key")
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, badKey("it is a %T, and must be an RSA key of at least 2048 bits", key)
	}
	if private.N.BitLen() < 2048 {
		return nil, badKey("it has %d bits, and must have at least 2048", private.N.BitLen())
	}
	return private, nil
}

// The structures of an encrypted key: RFC 5958, section 3, and RFC 8018, appendix A.
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2 struct {
		Derivation, Scheme pkix.AlgorithmIdentifier
	}
	pbkdf2Parameters struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		Function   pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

// maxIterations bounds the work for a key: OpenSSL's default is 2048.
const maxIterations = 10_000_000

var (
	pbes2ID  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	pbkdf2ID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// functions are those that PBKDF2 may use, by the text of their identifier.
var functions = map[string]func() hash.Hash{
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

// ciphers are those in CBC mode, by the text of their identifier.
var ciphers = map[string]struct {
	keyLength int
	make      func(key []byte) (cipher.Block, error)
}{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

// decryptKey returns the PKCS#8 key in an encrypted one.
func decryptKey(der, passphrase []byte) ([]byte, error) {
	const advice = "encrypt the key again with openssl pkcs8 -topk8 -v2 aes-256-cbc"
	var outer encryptedKey
	var scheme pbes2
	var derivation pbkdf2Parameters
	if !decodes(der, &outer) || !outer.Algorithm.Algorithm.Equal(pbes2ID) || !decodes(outer.Algorithm.Parameters.FullBytes, &scheme) ||
		!scheme.Derivation.Algorithm.Equal(pbkdf2ID) || !decodes(scheme.Derivation.Parameters.FullBytes, &derivation) {
		return nil, badKey("its encryption is not PBES2 with PBKDF2: %s", advice)
	}
	function := sha1.New
	if id := derivation.Function.Algorithm; len(id) > 0 {
		if function = functions[id.String()]; function == nil {
			return nil, badKey("its key derivation %s is not known: %s", id, advice)
		}
	}
	c, known := ciphers[scheme.Scheme.Algorithm.String()]
	var iv []byte
	if !known || !decodes(scheme.Scheme.Parameters.FullBytes, &iv) || derivation.Iterations < 1 || derivation.Iterations > maxIterations {
		return nil, badKey("its cipher %s is not known: %s", scheme.Scheme.Algorithm, advice)
	}
	key, err := pbkdf2.Key(function, string(passphrase), derivation.Salt, derivation.Iterations, c.keyLength)
	if err != nil {
		return nil, badKey("derive its key: %s", err)
	}
	block, err := c.make(key)
	if err != nil || len(iv) != block.BlockSize() || len(outer.Data) == 0 || len(outer.Data)%block.BlockSize() != 0 {
		return nil, badKey("it is damaged")
	}
	out := make([]byte, len(outer.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, outer.Data)
	padding := int(out[len(out)-1])
	if padding == 0 || padding > block.BlockSize() {
		return nil, badPassphrase("the passphrase does not fit the key")
	}
	out = out[:len(out)-padding]
	if _, err := x509.ParsePKCS8PrivateKey(out); err != nil {
		return nil, badPassphrase("the passphrase does not fit the key")
	}
	return out, nil
}

// decodes reports whether der is exactly one value of into's type.
func decodes(der []byte, into any) bool {
	rest, err := asn1.Unmarshal(der, into)
	return err == nil && len(rest) == 0
}
