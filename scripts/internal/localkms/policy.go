package localkms

import (
	"sort"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// Policy says what each principal (access key id) may do. Who is not listed may
// do nothing. It must not be changed after it was given to [Server.SetPolicy].
type Policy map[string][]Statement

// Statement allows Actions ("kms:Decrypt"; "kms:*" for all) on Keys (key ARNs;
// "*" for all, needed for actions without a key such as kms:GenerateRandom).
// ContextEquals is the condition kms:EncryptionContext:<name> StringEquals: the
// request's context must have each named key with one of its values.
// RequireContext names context keys that must be present with a value. A request
// without a context matches neither kind of condition. OnlyContext is the
// condition ForAllValues:StringEquals kms:EncryptionContextKeys: the context has
// no key besides these; empty admits all.
type Statement struct {
	Actions        []string
	Keys           []string
	ContextEquals  map[string][]string
	RequireContext []string
	OnlyContext    []string
}

// allows reports whether the statement covers the request.
func (st Statement) allows(action, keyARN string, context map[string]string) bool {
	if !listed(st.Actions, action, "kms:*") || !listed(st.Keys, keyARN, "*") {
		return false
	}
	for name, values := range st.ContextEquals {
		got, ok := context[name]
		if !ok || !listed(values, got, "") {
			return false
		}
	}
	for _, name := range st.RequireContext {
		if context[name] == "" {
			return false
		}
	}
	for name := range context {
		if len(st.OnlyContext) > 0 && !listed(st.OnlyContext, name, "") {
			return false
		}
	}
	return true
}

// listed reports whether list holds s or the wildcard ("" for no wildcard).
func listed(list []string, s, wildcard string) bool {
	for _, v := range list {
		if v == s || wildcard != "" && v == wildcard {
			return true
		}
	}
	return false
}

// authorize refuses what the policy does not allow and records the refusal.
// keyARN is "" for actions without a key.
func (s *Server) authorize(req *request, action, keyARN string, context map[string]string) error {
	req.keyARN, req.context = keyARN, context
	if s.cfg.Admin != "" && req.principal == s.cfg.Admin {
		return nil
	}
	s.mu.RLock()
	statements := s.policy[req.principal]
	s.mu.RUnlock()
	if req.principal != "" {
		for _, st := range statements {
			if st.allows(action, keyARN, context) {
				return nil
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.denials) >= maxDenials {
		s.denials = append(s.denials[:0], s.denials[1:]...)
	}
	s.denials = append(s.denials, Denial{
		At: s.cfg.Clock.Now(), Principal: req.principal, Action: action, KeyARN: keyARN, Context: context,
	})
	names := make([]string, 0, len(context))
	for name := range context {
		names = append(names, name)
	}
	sort.Strings(names)
	return awswire.NewError("AccessDeniedException",
		"principal "+req.principal+" is not authorized to perform "+action+" on resource "+keyARN+
			" with context keys ["+strings.Join(names, " ")+"] because no statement allows it")
}
