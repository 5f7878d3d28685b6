package geminigenerate

import "github.com/latchkey/latchkey/shared/model/jsonwire"

// Listed is an entry of the model list. Sizes of 0 are left out.
type Listed struct {
	Name                              string // without models/
	InputTokenLimit, OutputTokenLimit int64
}

// EncodeModels appends the answer of GET /v1beta/models, in one page.
func EncodeModels(dst []byte, list []Listed) []byte {
	dst = append(dst, `{"models":[`...)
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = EncodeModel(dst, list[i])
	}
	return append(dst, "]}"...)
}

// EncodeModel appends one model object.
func EncodeModel(dst []byte, l Listed) []byte {
	o := jsonwire.Begin(dst)
	o.String("name", "models/"+l.Name)
	o.String("displayName", l.Name)
	if l.InputTokenLimit > 0 {
		o.Int("inputTokenLimit", l.InputTokenLimit)
	}
	if l.OutputTokenLimit > 0 {
		o.Int("outputTokenLimit", l.OutputTokenLimit)
	}
	o.Raw("supportedGenerationMethods", []byte(`["generateContent","streamGenerateContent","countTokens"]`))
	return o.End()
}
