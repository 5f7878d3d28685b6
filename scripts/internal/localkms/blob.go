package localkms

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"sort"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// A blob is magic(4) ‖ key id(16) ‖ material id(32) ‖ nonce(12) ‖ sealed ‖ tag(16).
const (
	blobMagic    = "lkm\x01"
	keyIDBytes   = 16
	matIDBytes   = 32
	blobHead     = len(blobMagic) + keyIDBytes + matIDBytes
	nonceBytes   = 12
	tagBytes     = 16
	blobOverhead = blobHead + nonceBytes + tagBytes
)

// blob is a parsed ciphertext blob. sealed begins with the nonce.
type blob struct {
	keyID      string
	materialID string
	head       []byte
	sealed     []byte
}

// parseBlob reads the public head of a blob. It says nothing about integrity:
// that is for open.
func parseBlob(b []byte) (blob, error) {
	if len(b) < blobOverhead || string(b[:len(blobMagic)]) != blobMagic {
		return blob{}, badCiphertext()
	}
	var id [keyIDBytes]byte
	copy(id[:], b[len(blobMagic):])
	return blob{
		keyID:      awswire.FormatUUID(id),
		materialID: hex.EncodeToString(b[blobHead-matIDBytes : blobHead]),
		head:       b[:blobHead:blobHead],
		sealed:     b[blobHead:],
	}, nil
}

// badCiphertext is the same for damage and for a wrong context, as at AWS, so
// that nothing can be learnt from the difference.
func badCiphertext() error {
	return awswire.NewError("InvalidCiphertextException",
		"the ciphertext or the encryption context given with it is not what was encrypted")
}

func blobHeader(keyID, materialID string) []byte {
	head := make([]byte, 0, blobHead)
	head = append(head, blobMagic...)
	for _, id := range []string{keyID, materialID} {
		for i := 0; i+1 < len(id); i += 2 {
			if id[i] == '-' {
				i++
			}
			b, _ := hex.DecodeString(id[i : i+2]) // ids are ours: hex and dashes
			head = append(head, b...)
		}
	}
	return head
}

// seal encrypts plaintext under material with the context.
func seal(keyID string, m material, context map[string]string, plaintext []byte) ([]byte, error) {
	gcm, err := newGCM(m.Key)
	if err != nil {
		return nil, err
	}
	head := blobHeader(keyID, m.ID)
	return gcm.Seal(head, nil, plaintext, additionalData(head, context)), nil
}

// open decrypts a blob; any damage and any other context is badCiphertext.
func open(b blob, m material, context map[string]string) ([]byte, error) {
	gcm, err := newGCM(m.Key)
	if err != nil {
		return nil, err
	}
	plaintext, err := gcm.Open(nil, nil, b.sealed, additionalData(b.head, context))
	if err != nil {
		return nil, badCiphertext()
	}
	return plaintext, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// additionalData is the head and the context, sorted by key and with lengths
// before each string, so that no two contexts have the same bytes.
func additionalData(head []byte, context map[string]string) []byte {
	names := make([]string, 0, len(context))
	for name := range context {
		names = append(names, name)
	}
	sort.Strings(names)
	out := append([]byte(nil), head...)
	for _, name := range names {
		for _, s := range []string{name, context[name]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
			out = append(out, s...)
		}
	}
	return out
}
