package billing

// Meter is something with a price.
type Meter string

// Meters. The unit is one token, character, image, request or query; audio
// seconds are billed by the millisecond. Image is a fee per picture sent, beside
// its tokens. Prices of SearchQuery are kept and charge nothing: no call that is
// served reports queries, and platform calls cannot ask for any.
const (
	InputText         Meter = "input_text"
	InputCacheRead    Meter = "input_cache_read"
	InputCacheWrite5m Meter = "input_cache_write_5m"
	InputCacheWrite1h Meter = "input_cache_write_1h"
	InputAudio        Meter = "input_audio"
	InputImage        Meter = "input_image"
	OutputText        Meter = "output_text"
	OutputReasoning   Meter = "output_reasoning"
	OutputAudio       Meter = "output_audio"
	OutputImage       Meter = "output_image"
	Image             Meter = "image"
	Request           Meter = "request"
	SearchQuery       Meter = "search_query"
	AudioSecondIn     Meter = "audio_second_in"
	CharacterIn       Meter = "character_in"
	AudioSecondOut    Meter = "audio_second_out"
)

// Meters lists every meter.
func Meters() []Meter {
	return []Meter{InputText, InputCacheRead, InputCacheWrite5m, InputCacheWrite1h, InputAudio, InputImage, OutputText, OutputReasoning,
		OutputAudio, OutputImage, Image, Request, SearchQuery, AudioSecondIn, CharacterIn, AudioSecondOut}
}

// ParseMeter accepts exactly the meters above.
func ParseMeter(s string) (Meter, bool) {
	switch m := Meter(s); m {
	case InputText, InputCacheRead, InputCacheWrite5m, InputCacheWrite1h, InputAudio, InputImage, OutputText, OutputReasoning,
		OutputAudio, OutputImage, Image, Request, SearchQuery, AudioSecondIn, CharacterIn, AudioSecondOut:
		return m, true
	}
	return "", false
}

// measure is a way to measure the work of a call. Vendors report several for the
// same work (a transcription's tokens and its seconds), and it is charged by one.
type measure int

// Measures in the order of preference: tokens are what a vendor that reports them
// bills by; seconds received are last, because only some formats tell them.
const (
	byTokens measure = iota
	bySecondsIn
	byCharacters
	bySecondsOut
	numMeasures
	// aFee is charged beside the work.
	aFee
)

// charge says how one disjoint part of a usage is priced.
type charge struct {
	// meters are tried in order: the first that has a row prices the part.
	meters []Meter
	// apart is a meter whose row says that the vendor prices such parts apart, so
	// that only the first of meters may price them.
	apart   Meter
	measure measure
	// milli says that the units are thousandths of the meter's.
	milli bool
	// optional parts cost nothing without a row.
	optional bool
}

// The parts of a usage, as [Usage.parts] fills them.
const (
	partInput = iota
	partCacheRead
	partCacheWrite5m
	partCacheWrite1h
	partInputAudio
	partInputImage
	partOutput
	partReasoning
	partOutputAudio
	partOutputImage
	partSecondsIn
	partSecondsOut
	partCharacters
	partImages
	partRequests
	numParts
)

// charges maps parts to meters. A vendor that has no price for cache reads,
// writes, pictures or thinking bills them as the text they stand in; audio and
// pictures that a model makes always have a price of their own.
var charges = [numParts]charge{
	partInput:        {meters: []Meter{InputText}},
	partCacheRead:    {meters: []Meter{InputCacheRead, InputText}},
	partCacheWrite5m: {meters: []Meter{InputCacheWrite5m, InputText}},
	// Who charges more for writing charges still more for an hour: without that
	// price an hour must not pass for five minutes.
	partCacheWrite1h: {meters: []Meter{InputCacheWrite1h, InputText}, apart: InputCacheWrite5m},
	partInputAudio:   {meters: []Meter{InputAudio}},
	partInputImage:   {meters: []Meter{InputImage, InputText}},
	partOutput:       {meters: []Meter{OutputText}},
	partReasoning:    {meters: []Meter{OutputReasoning, OutputText}},
	partOutputAudio:  {meters: []Meter{OutputAudio}},
	partOutputImage:  {meters: []Meter{OutputImage}},
	partSecondsIn:    {meters: []Meter{AudioSecondIn}, measure: bySecondsIn, milli: true},
	partSecondsOut:   {meters: []Meter{AudioSecondOut}, measure: bySecondsOut, milli: true},
	partCharacters:   {meters: []Meter{CharacterIn}, measure: byCharacters},
	partImages:       {meters: []Meter{Image}, measure: aFee, optional: true},
	partRequests:     {meters: []Meter{Request}, measure: aFee, optional: true},
}

// parts are the disjoint parts of a usage. Where the parts of a total exceed it,
// the total wins: a token that a vendor counts in two parts must not be billed
// twice.
func (u *Usage) parts() (p [numParts]int64) {
	rest := u.InputTokens
	take := func(n int64) int64 {
		n = min(n, rest)
		rest -= n
		return n
	}
	p[partCacheRead] = take(u.CachedInputTokens)
	writes := take(u.CacheWriteTokens)
	p[partCacheWrite1h] = min(u.CacheWrite1hTokens, writes)
	p[partCacheWrite5m] = writes - p[partCacheWrite1h]
	p[partInputAudio] = take(u.InputAudioTokens)
	p[partInputImage] = take(u.InputImageTokens)
	p[partInput] = rest
	rest = u.OutputTokens
	p[partOutputAudio] = take(u.OutputAudioTokens)
	p[partOutputImage] = take(u.OutputImageTokens)
	p[partReasoning] = take(u.ReasoningTokens)
	p[partOutput] = rest
	p[partSecondsIn], p[partSecondsOut] = u.AudioMillis, u.AudioOutMillis
	p[partCharacters], p[partImages], p[partRequests] = u.Characters, u.Images, u.Requests
	return p
}
