// Package awspolly connects Amazon Polly with an access key of the organisation
// (see package awssign): the key, the hosts of the regions and the voices. Speech
// is not served yet.
//
// Source: docs.aws.amazon.com/polly, API reference DescribeVoices; read 2026-11.
package awspolly

import (
	"context"
	"net/url"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/awssign"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// service is the name in hosts and signatures.
const service = "polly"

// Registration describes the vendor.
func Registration() providers.Entry {
	v := wire.Vendor{ID: taxonomy.AWSPolly, Key: awssign.Key(), Errors: awssign.Errors()}
	return providers.Entry{
		ID:             taxonomy.AWSPolly,
		Title:          "Amazon Polly",
		VoiceOnly:      true,
		DefaultBaseURL: awssign.BaseURL(service, awssign.DefaultRegion),
		Hosts:          awssign.Hosts(service),
		Key:            awssign.Key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		CheckKey: func(ctx context.Context, t model.Target) error {
			_, err := voices(ctx, t, &v, "awspolly.CheckKey", "/v1/voices?LanguageCode=en-GB")
			return err
		},
		ListVoices: func(ctx context.Context, t model.Target) ([]speech.Voice, error) {
			return listVoices(ctx, t, &v)
		},
	}
}

type page struct {
	Voices []struct {
		ID       string `json:"Id"`
		Name     string `json:"Name"`
		Language string `json:"LanguageCode"`
	} `json:"Voices"`
	Next string `json:"NextToken"`
}

func voices(ctx context.Context, t model.Target, v *wire.Vendor, op, path string) (p page, err error) {
	err = listing.JSON(ctx, t, v, wire.Request{Op: op, Path: path, Sign: awssign.Sign(v, op, service, t)}, &p)
	return p, err
}

func listVoices(ctx context.Context, t model.Target, v *wire.Vendor) ([]speech.Voice, error) {
	const op = "awspolly.ListVoices"
	var out listing.Voices
	err := listing.Pages(v, op, func(token string) (string, error) {
		path := "/v1/voices"
		if token != "" {
			path += "?NextToken=" + url.QueryEscape(token)
		}
		p, err := voices(ctx, t, v, op, path)
		for _, voice := range p.Voices {
			out.Add(voice.ID, voice.Name, voice.Language)
		}
		return p.Next, err
	})
	return out.List, err
}
