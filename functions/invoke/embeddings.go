package main

import (
	"github.com/latchkey/latchkey/shared/dialect/openaiembeddings"
	"github.com/latchkey/latchkey/shared/serve"
)

func embeddings(x *serve.Exchange) error {
	request, err := openaiembeddings.ParseRequest(x.Body)
	if err != nil {
		return err
	}
	a, err := x.Gateway().Embed(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	// As for chat: a usage that cannot be written does not keep the answer back.
	_ = a.Commit(x.R.Context())
	info := a.Info()
	x.Describe(info, false)
	return x.Reply("application/json", openaiembeddings.EncodeResponse(nil, a.Result,
		openaiembeddings.Shape{Model: info.Model, Encoding: request.Encoding, BillingSource: string(info.Source)}))
}
