package schema

import "bytes"

// replacement is the escape of U+FFFD. It is as long as the escape that it
// replaces, so that no byte of a record moves.
const replacement = `\ufffd`

// repairSurrogates replaces, in place, each escaped surrogate of valid JSON that
// has no partner by the escape of U+FFFD. Escaped pairs keep their bytes:
//
//	"a\ud83d"          "a\ufffd"
//	"\ud83d\ude00"     "\ud83d\ude00"
//	"\ud83d\ud83d\ude00"  "\ufffd\ud83d\ude00"
func repairSurrogates(data []byte) {
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\\')
		if n < 0 {
			return
		}
		i += n
		length, lone := escapeAt(data, i)
		if lone {
			copy(data[i:], replacement)
		}
		i += max(length, 1)
	}
}
