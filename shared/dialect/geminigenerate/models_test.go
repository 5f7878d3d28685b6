package geminigenerate

import "testing"

func TestModels(t *testing.T) {
	const methods = `"supportedGenerationMethods":["generateContent","streamGenerateContent","countTokens"]`
	got := string(EncodeModels(nil, []Listed{{Name: "openai/gpt-5", InputTokenLimit: 272000, OutputTokenLimit: 128000}, {Name: "x"}}))
	want := `{"models":[{"name":"models/openai/gpt-5","displayName":"openai/gpt-5","inputTokenLimit":272000,"outputTokenLimit":128000,` + methods + `},` +
		`{"name":"models/x","displayName":"x",` + methods + `}]}`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
