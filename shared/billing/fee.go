package billing

// Fees are the terms on which requests on an organisation's own keys and endpoints
// are charged, as its commercial policy has them. The zero value charges nothing.
type Fees struct {
	// Policy is the version of the policy.
	Policy string
	// FlatFee is per request on an own key, SurchargeBPS in basis points of what the
	// request would cost on platform credits; at most one of them is set.
	FlatFee      Micro
	SurchargeBPS int64
	// PrivateFee is per request on an own endpoint.
	PrivateFee Micro
	// FreeRequests of a calendar month are not charged.
	FreeRequests int64
}

// Any reports whether any request can cost anything.
func (f Fees) Any() bool { return f.FlatFee > 0 || f.SurchargeBPS > 0 || f.PrivateFee > 0 }
