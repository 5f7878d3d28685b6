package localkms

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"strconv"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// Limits of the API (constraints in the service model of kms v1.62.4).
const (
	maxPlaintext = 4096
	maxBlob      = 6144
	maxMessage   = 4096
	maxMac       = 6144
	maxRandom    = 1024

	macAlgorithm     = "HMAC_SHA_256"
	ignoreCiphertext = "IGNORE_CIPHERTEXT"
)

// cryptoInput is the union of the members of the cryptographic operations.
type cryptoInput struct {
	KeyID               string `json:"KeyId"`
	Plaintext           []byte
	CiphertextBlob      []byte
	EncryptionContext   map[string]string
	EncryptionAlgorithm string
	KeySpec             string
	NumberOfBytes       *int
	Message             []byte
	Mac                 []byte
	MacAlgorithm        string
	DryRun              bool
	DryRunModifiers     []string

	SourceKeyID                    string `json:"SourceKeyId"`
	DestinationKeyID               string `json:"DestinationKeyId"`
	SourceEncryptionContext        map[string]string
	DestinationEncryptionContext   map[string]string
	SourceEncryptionAlgorithm      string
	DestinationEncryptionAlgorithm string
}

func decodeCrypto(req *request) (cryptoInput, error) {
	var in cryptoInput
	if err := awswire.Decode(req.body, &in); err != nil {
		return in, err
	}
	for _, a := range []string{in.EncryptionAlgorithm, in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm} {
		if a != "" && a != Symmetric {
			return in, awswire.NewError("InvalidKeyUsageException", "the algorithm must be "+Symmetric)
		}
	}
	for _, m := range in.DryRunModifiers {
		if m != ignoreCiphertext {
			return in, invalid("DryRunModifiers can hold IGNORE_CIPHERTEXT only")
		}
	}
	return in, nil
}

func (in cryptoInput) ignoresCiphertext() bool { return in.DryRun && len(in.DryRunModifiers) > 0 }

// dryRun is the answer to a dry run that would have succeeded.
func dryRun() error {
	return &awswire.Error{Status: http.StatusPreconditionFailed, Code: "DryRunOperationException", Message: "the request would have succeeded, but DryRun is set"}
}

// admit is the common gate: permission, then state, then usage.
func (s *Server) admit(req *request, k key, action, spec string, context map[string]string) error {
	if err := s.authorize(req, action, s.arn(k.ID), context); err != nil {
		return err
	}
	if err := s.usable(k); err != nil {
		return err
	}
	if k.Spec != spec {
		return awswire.NewError("InvalidKeyUsageException", s.arn(k.ID)+" is a "+k.Spec+" key and cannot do "+req.operation)
	}
	return nil
}

func (s *Server) encrypt(req *request) (any, error) {
	in, err := decodeCrypto(req)
	if err != nil {
		return nil, err
	}
	if len(in.Plaintext) == 0 || len(in.Plaintext) > maxPlaintext {
		return nil, invalid("Plaintext must have 1 to 4096 bytes")
	}
	k, err := s.resolve(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.admit(req, k, "kms:Encrypt", Symmetric, in.EncryptionContext); err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	sealed, err := seal(k.ID, k.current(), in.EncryptionContext, in.Plaintext)
	if err != nil {
		return nil, err
	}
	return map[string]any{"CiphertextBlob": sealed, "KeyId": s.arn(k.ID), "EncryptionAlgorithm": Symmetric}, nil
}

// source finds the key that a blob must be opened with. keyID may be empty.
func (s *Server) source(ciphertext []byte, keyID string, noCiphertext bool) (key, blob, error) {
	if noCiphertext {
		k, err := s.resolve(keyID)
		return k, blob{}, err
	}
	if len(ciphertext) == 0 || len(ciphertext) > maxBlob {
		return key{}, blob{}, invalid("CiphertextBlob must have 1 to 6144 bytes")
	}
	var named key
	if keyID != "" {
		k, err := s.resolve(keyID)
		if err != nil {
			return key{}, blob{}, err
		}
		named = k
	}
	b, err := parseBlob(ciphertext)
	if err != nil {
		return key{}, blob{}, err
	}
	if keyID == "" {
		k, err := s.resolve(b.keyID)
		if err != nil {
			// As AWS: whether the key exists is nothing the holder of a blob may learn.
			return key{}, blob{}, awswire.NewError("AccessDeniedException",
				"the ciphertext refers to a key that does not exist here or that the principal may not use")
		}
		return k, b, nil
	}
	return named, b, nil
}

// unwrap opens a blob with the key it was sealed under.
func (s *Server) unwrap(k key, b blob, context map[string]string) ([]byte, material, error) {
	if b.keyID != k.ID {
		return nil, material{}, awswire.NewError("IncorrectKeyException", "the ciphertext was not encrypted under "+s.arn(k.ID))
	}
	for _, m := range k.Materials {
		if m.ID == b.materialID {
			plaintext, err := open(b, m, context)
			return plaintext, m, err
		}
	}
	return nil, material{}, badCiphertext()
}

func (s *Server) decrypt(req *request) (any, error) {
	in, err := decodeCrypto(req)
	if err != nil {
		return nil, err
	}
	k, b, err := s.source(in.CiphertextBlob, in.KeyID, in.ignoresCiphertext())
	if err != nil {
		return nil, err
	}
	if err := s.admit(req, k, "kms:Decrypt", Symmetric, in.EncryptionContext); err != nil {
		return nil, err
	}
	if in.ignoresCiphertext() {
		return nil, dryRun()
	}
	plaintext, m, err := s.unwrap(k, b, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return map[string]any{
		"Plaintext": plaintext, "KeyId": s.arn(k.ID), "KeyMaterialId": m.ID, "EncryptionAlgorithm": Symmetric,
	}, nil
}

func (s *Server) reEncrypt(req *request) (any, error) {
	in, err := decodeCrypto(req)
	if err != nil {
		return nil, err
	}
	from, b, err := s.source(in.CiphertextBlob, in.SourceKeyID, in.ignoresCiphertext())
	if err != nil {
		return nil, err
	}
	to, err := s.resolve(in.DestinationKeyID)
	if err != nil {
		return nil, err
	}
	if err := s.admit(req, from, "kms:ReEncryptFrom", Symmetric, in.SourceEncryptionContext); err != nil {
		return nil, err
	}
	if err := s.admit(req, to, "kms:ReEncryptTo", Symmetric, in.DestinationEncryptionContext); err != nil {
		return nil, err
	}
	if in.ignoresCiphertext() {
		return nil, dryRun()
	}
	plaintext, m, err := s.unwrap(from, b, in.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	if in.DryRun {
		return nil, dryRun()
	}
	sealed, err := seal(to.ID, to.current(), in.DestinationEncryptionContext, plaintext)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"CiphertextBlob": sealed,
		"SourceKeyId":    s.arn(from.ID), "SourceKeyMaterialId": m.ID, "SourceEncryptionAlgorithm": Symmetric,
		"KeyId": s.arn(to.ID), "DestinationKeyMaterialId": to.current().ID, "DestinationEncryptionAlgorithm": Symmetric,
	}, nil
}

func (s *Server) generateDataKey(req *request) (any, error) { return s.dataKey(req, true) }

func (s *Server) generateDataKeyWithoutPlaintext(req *request) (any, error) {
	return s.dataKey(req, false)
}

func (s *Server) dataKey(req *request, withPlaintext bool) (any, error) {
	in, err := decodeCrypto(req)
	if err != nil {
		return nil, err
	}
	n, err := dataKeyBytes(in)
	if err != nil {
		return nil, err
	}
	k, err := s.resolve(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.admit(req, k, "kms:"+req.operation, Symmetric, in.EncryptionContext); err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	plaintext := randomBytes(n)
	sealed, err := seal(k.ID, k.current(), in.EncryptionContext, plaintext)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"CiphertextBlob": sealed, "KeyId": s.arn(k.ID), "KeyMaterialId": k.current().ID}
	if withPlaintext {
		out["Plaintext"] = plaintext
	}
	return out, nil
}

func dataKeyBytes(in cryptoInput) (int, error) {
	switch {
	case (in.KeySpec == "") == (in.NumberOfBytes == nil):
		return 0, invalid("give either KeySpec or NumberOfBytes")
	case in.KeySpec == "AES_256":
		return 32, nil
	case in.KeySpec == "AES_128":
		return 16, nil
	case in.KeySpec != "":
		return 0, invalid("KeySpec must be AES_256 or AES_128")
	case *in.NumberOfBytes < 1 || *in.NumberOfBytes > maxRandom:
		return 0, invalid("NumberOfBytes must lie between 1 and " + strconv.Itoa(maxRandom))
	}
	return *in.NumberOfBytes, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, per its documentation since Go 1.24
	return b
}

func (s *Server) generateRandom(req *request) (any, error) {
	in, err := decodeCrypto(req)
	if err != nil {
		return nil, err
	}
	if in.NumberOfBytes == nil || *in.NumberOfBytes < 1 || *in.NumberOfBytes > maxRandom {
		return nil, invalid("NumberOfBytes must lie between 1 and " + strconv.Itoa(maxRandom))
	}
	if err := s.authorize(req, "kms:GenerateRandom", "", nil); err != nil {
		return nil, err
	}
	return map[string]any{"Plaintext": randomBytes(*in.NumberOfBytes)}, nil
}

// macTarget does what both MAC operations begin with and returns the true MAC.
func (s *Server) macTarget(req *request) (cryptoInput, key, []byte, error) {
	in, err := decodeCrypto(req)
	if err != nil {
		return in, key{}, nil, err
	}
	if len(in.Message) == 0 || len(in.Message) > maxMessage {
		return in, key{}, nil, invalid("Message must have 1 to 4096 bytes")
	}
	k, err := s.resolve(in.KeyID)
	if err != nil {
		return in, key{}, nil, err
	}
	if err := s.admit(req, k, "kms:"+req.operation, HMAC256, nil); err != nil {
		return in, key{}, nil, err
	}
	if in.MacAlgorithm != macAlgorithm {
		return in, key{}, nil, awswire.NewError("InvalidKeyUsageException", "the algorithm of an HMAC_256 key is "+macAlgorithm)
	}
	mac := hmac.New(sha256.New, k.current().Key)
	_, _ = mac.Write(in.Message) // a hash never fails
	return in, k, mac.Sum(nil), nil
}

func (s *Server) generateMac(req *request) (any, error) {
	in, k, mac, err := s.macTarget(req)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return map[string]any{"Mac": mac, "KeyId": s.arn(k.ID), "MacAlgorithm": macAlgorithm}, nil
}

func (s *Server) verifyMac(req *request) (any, error) {
	in, k, mac, err := s.macTarget(req)
	if err != nil {
		return nil, err
	}
	if len(in.Mac) == 0 || len(in.Mac) > maxMac {
		return nil, invalid("Mac must have 1 to 6144 bytes")
	}
	if !hmac.Equal(mac, in.Mac) {
		return nil, awswire.NewError("KMSInvalidMacException", "the MAC is not that of the message under "+s.arn(k.ID))
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return map[string]any{"MacValid": true, "KeyId": s.arn(k.ID), "MacAlgorithm": macAlgorithm}, nil
}
