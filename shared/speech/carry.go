package speech

// ExtraCarrier is implemented by adapters that pass on the fields which the
// dialect's parser did not know; others leave them out.
type ExtraCarrier interface {
	CarriesExtra() bool
}
