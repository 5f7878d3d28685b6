// Package awstranscribe connects Amazon Transcribe with an access key of the
// organisation (see package awssign): the key and the hosts of the regions.
// Transcription is not served yet.
//
// A list of at most one job proves the key; the key needs
// transcribe:ListTranscriptionJobs. Source: docs.aws.amazon.com/transcribe, API
// reference ListTranscriptionJobs (AWS JSON 1.1); read 2026-11.
package awstranscribe

import (
	"context"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/awssign"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// service is the name in hosts and signatures.
const service = "transcribe"

// Registration describes the vendor.
func Registration() providers.Entry {
	v := wire.Vendor{ID: taxonomy.AWSTranscribe, Key: awssign.Key(), Errors: awssign.Errors(),
		Header: map[string]string{"X-Amz-Target": "Transcribe.ListTranscriptionJobs"}}
	return providers.Entry{
		ID:             taxonomy.AWSTranscribe,
		Title:          "Amazon Transcribe",
		VoiceOnly:      true,
		DefaultBaseURL: awssign.BaseURL(service, awssign.DefaultRegion),
		Hosts:          awssign.Hosts(service),
		Key:            awssign.Key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		CheckKey:       func(ctx context.Context, t model.Target) error { return checkKey(ctx, t, &v) },
	}
}

func checkKey(ctx context.Context, t model.Target, v *wire.Vendor) error {
	const op, body = "awstranscribe.CheckKey", `{"MaxResults":1}`
	var ignored struct {
		Jobs []struct{} `json:"TranscriptionJobSummaries"`
	}
	return listing.JSON(ctx, t, v, wire.Request{Op: op, Method: http.MethodPost, Path: "/", ContentType: "application/x-amz-json-1.1",
		Body: strings.NewReader(body), Size: int64(len(body)), Sign: awssign.Sign(v, op, service, t)}, &ignored)
}
