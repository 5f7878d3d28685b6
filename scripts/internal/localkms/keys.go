package localkms

import (
	"sort"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

const (
	minPendingDays = 7
	maxPendingDays = 30
	// maxRotations is the quota of on-demand rotations per key (KMS developer
	// guide, "Rotate AWS KMS keys", read 2026-11).
	maxRotations = 25
)

// keyInput is the part of every request that names one key.
type keyInput struct {
	KeyID               string `json:"KeyId"`
	PendingWindowInDays *int
}

// target decodes a request on one key, resolves the key and authorizes.
func (s *Server) target(req *request) (keyInput, key, error) {
	var in keyInput
	if err := awswire.Decode(req.body, &in); err != nil {
		return in, key{}, err
	}
	k, err := s.resolve(in.KeyID)
	if err != nil {
		return in, key{}, err
	}
	return in, k, s.authorize(req, "kms:"+req.operation, s.arn(k.ID), nil)
}

func (s *Server) createKey(req *request) (any, error) {
	var in struct{ KeySpec, CustomerMasterKeySpec, KeyUsage, Origin string }
	if err := awswire.Decode(req.body, &in); err != nil {
		return nil, err
	}
	spec := in.KeySpec
	if spec == "" {
		spec = in.CustomerMasterKeySpec
	}
	if spec == "" {
		spec = Symmetric
	}
	if spec != Symmetric && spec != HMAC256 || in.Origin != "" && in.Origin != "AWS_KMS" {
		return nil, awswire.NewError("UnsupportedOperationException", "the local key service has SYMMETRIC_DEFAULT and HMAC_256 keys of origin AWS_KMS")
	}
	k := s.newKey(awswire.NewID(), spec)
	// AWS has no default usage for HMAC keys: it must be named.
	if in.KeyUsage != k.usage() && (in.KeyUsage != "" || spec == HMAC256) {
		return nil, invalid("KeyUsage for " + spec + " must be " + k.usage())
	}
	if err := s.authorize(req, "kms:CreateKey", "", nil); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Keys[k.ID] = k
	if err := s.saveLocked(); err != nil {
		delete(s.state.Keys, k.ID)
		return nil, err
	}
	return map[string]any{"KeyMetadata": s.metadata(*k)}, nil
}

func (s *Server) describeKey(req *request) (any, error) {
	_, k, err := s.target(req)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyMetadata": s.metadata(k)}, nil
}

func (s *Server) metadata(k key) map[string]any {
	out := map[string]any{
		"KeyId": k.ID, "Arn": s.arn(k.ID), "AWSAccountId": s.cfg.Account,
		"CreationDate": epoch(k.Created), "Enabled": k.State == stateEnabled, "KeyState": k.State,
		"KeyManager": "CUSTOMER", "KeySpec": k.Spec, "CustomerMasterKeySpec": k.Spec,
		"KeyUsage": k.usage(), "Origin": "AWS_KMS", "MultiRegion": false, "Description": "",
	}
	if k.Spec == HMAC256 {
		out["MacAlgorithms"] = []string{macAlgorithm}
	} else {
		out["EncryptionAlgorithms"] = []string{Symmetric}
		out["CurrentKeyMaterialId"] = k.current().ID
	}
	if k.State == statePending && k.DeletionDate != nil {
		out["DeletionDate"] = epoch(*k.DeletionDate)
	}
	return out
}

// epoch is the timestamp form of the JSON protocols: seconds with a fraction.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (s *Server) listKeys(req *request) (any, error) {
	if err := s.authorize(req, "kms:ListKeys", "", nil); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := make([]string, 0, len(s.state.Keys))
	for id := range s.state.Keys {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	out := make([]map[string]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, map[string]string{"KeyId": id, "KeyArn": s.arn(id)})
	}
	return map[string]any{"Keys": out, "Truncated": false}, nil
}

func (s *Server) createAlias(req *request) (any, error) {
	var in struct {
		AliasName   string
		TargetKeyID string `json:"TargetKeyId"`
	}
	if err := awswire.Decode(req.body, &in); err != nil {
		return nil, err
	}
	if !aliasPattern.MatchString(in.AliasName) {
		return nil, awswire.NewError("InvalidAliasNameException", "an alias is alias/ and letters, digits, slash, underscore, dash")
	}
	k, err := s.resolve(in.TargetKeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(req, "kms:CreateAlias", s.arn(k.ID), nil); err != nil {
		return nil, err
	}
	if k.State == statePending {
		return nil, pendingDeletion(s.arn(k.ID))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.state.Aliases[in.AliasName]; ok {
		return nil, awswire.NewError("AlreadyExistsException", "alias "+s.aliasARN(in.AliasName)+" exists")
	}
	s.state.Aliases[in.AliasName] = alias{KeyID: k.ID, Created: s.cfg.Clock.Now()}
	if err := s.saveLocked(); err != nil {
		delete(s.state.Aliases, in.AliasName)
		return nil, err
	}
	return struct{}{}, nil
}

func (s *Server) listAliases(req *request) (any, error) {
	var in keyInput
	if err := awswire.Decode(req.body, &in); err != nil {
		return nil, err
	}
	only := ""
	if in.KeyID != "" {
		k, err := s.resolve(in.KeyID)
		if err != nil {
			return nil, err
		}
		only = k.ID
	}
	if err := s.authorize(req, "kms:ListAliases", "", nil); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.state.Aliases))
	for name, a := range s.state.Aliases {
		if only == "" || a.KeyID == only {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	out := make([]map[string]any, 0, len(names))
	for _, name := range names {
		a := s.state.Aliases[name]
		out = append(out, map[string]any{
			"AliasName": name, "AliasArn": s.aliasARN(name), "TargetKeyId": a.KeyID,
			"CreationDate": epoch(a.Created), "LastUpdatedDate": epoch(a.Created),
		})
	}
	return map[string]any{"Aliases": out, "Truncated": false}, nil
}

func (s *Server) enableKey(req *request) (any, error) { return s.setState(req, stateEnabled) }

func (s *Server) disableKey(req *request) (any, error) { return s.setState(req, stateDisabled) }

func (s *Server) setState(req *request, to string) (any, error) {
	_, k, err := s.target(req)
	if err != nil {
		return nil, err
	}
	_, err = s.change(k.ID, func(k *key) error {
		if k.State == statePending {
			return pendingDeletion(s.arn(k.ID))
		}
		k.State = to
		return nil
	})
	return struct{}{}, err
}

func (s *Server) scheduleKeyDeletion(req *request) (any, error) {
	in, k, err := s.target(req)
	if err != nil {
		return nil, err
	}
	days := maxPendingDays
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	if days < minPendingDays || days > maxPendingDays {
		return nil, invalid("PendingWindowInDays must lie between 7 and 30")
	}
	k, err = s.change(k.ID, func(k *key) error {
		if k.State == statePending {
			return pendingDeletion(s.arn(k.ID))
		}
		at := s.cfg.Clock.Now().AddDate(0, 0, days)
		k.State, k.DeletionDate, k.PendingWindow = statePending, &at, days
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"KeyId": s.arn(k.ID), "DeletionDate": epoch(*k.DeletionDate), "KeyState": k.State, "PendingWindowInDays": days,
	}, nil
}

func (s *Server) cancelKeyDeletion(req *request) (any, error) {
	_, k, err := s.target(req)
	if err != nil {
		return nil, err
	}
	_, err = s.change(k.ID, func(k *key) error {
		if k.State != statePending {
			return invalidState(s.arn(k.ID) + " is not pending deletion")
		}
		// AWS leaves a rescued key disabled: enabling it is a second decision.
		k.State, k.DeletionDate, k.PendingWindow = stateDisabled, nil, 0
		return nil
	})
	return map[string]any{"KeyId": s.arn(k.ID)}, err
}

func (s *Server) rotateKeyOnDemand(req *request) (any, error) {
	_, k, err := s.target(req)
	if err != nil {
		return nil, err
	}
	if k.Spec != Symmetric {
		return nil, awswire.NewError("UnsupportedOperationException", "only symmetric encryption keys rotate")
	}
	_, err = s.change(k.ID, func(k *key) error {
		if err := s.usable(*k); err != nil {
			return err
		}
		if k.Rotations >= maxRotations {
			return awswire.NewError("LimitExceededException", "a key can be rotated on demand at most 25 times")
		}
		k.Rotations++
		// A fresh slice: snapshots taken before share the old backing array.
		k.Materials = append(append([]material(nil), k.Materials...), newMaterial())
		return nil
	})
	return map[string]any{"KeyId": s.arn(k.ID)}, err
}

// usable refuses keys that are not enabled.
func (s *Server) usable(k key) error {
	switch k.State {
	case stateEnabled:
		return nil
	case stateDisabled:
		return awswire.NewError("DisabledException", s.arn(k.ID)+" is disabled")
	default:
		return pendingDeletion(s.arn(k.ID))
	}
}

func pendingDeletion(arn string) error { return invalidState(arn + " is pending deletion") }

func invalidState(message string) error {
	return awswire.NewError("KMSInvalidStateException", message)
}
