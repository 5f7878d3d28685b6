package ingest

import (
	"crypto/sha256"
	"sync"
	"time"
)

// What one sender may send to one install that is refused: burst requests at once
// and one more every interval. Recording unknown installs has a limit of its own
// per sender, because whoever invents ids has one of the first kind for each.
const (
	floodBurst      = 60
	floodInterval   = 2 * time.Second
	unknownBurst    = 30
	unknownInterval = 10 * time.Second
	// tellEvery is how often what is not recorded singly is.
	tellEvery = time.Minute
	// maxSenders bounds the memory; beyond it senders share one limit.
	maxSenders = 4096
	// What a visitor whose token verifies may say and ask: no vendor slows people down.
	sayBurst, askBurst       = 20, 60
	sayInterval, askInterval = 2 * time.Second, 400 * time.Millisecond
)

// sender is a limit: free is when it is whole again (the virtual scheduling form
// of a leaky bucket).
type sender struct {
	free, told time.Time
	suppressed int64
}

// hit takes one request and reports whether it is within the limit.
func (s *sender) hit(now time.Time, burst int, every time.Duration) bool {
	if s.free.Before(now) {
		s.free = now
	}
	if s.free.Sub(now) > time.Duration(burst-1)*every {
		return false
	}
	s.free = s.free.Add(every)
	return true
}

// tell reports whether one that is not recorded singly is to be recorded, and how
// many were not since the last time. What follows the last record of a flood is
// never told.
func (s *sender) tell(now time.Time) (bool, int64) {
	if s.told.IsZero() || now.Sub(s.told) >= tellEvery || now.Before(s.told) {
		n := s.suppressed
		s.told, s.suppressed = now, 0
		return true, n
	}
	s.suppressed++
	return false, 0
}

// verdict is what becomes of a refusal.
type verdict struct {
	limited, record bool
	suppressed      int64
}

// floods counts refusals. The zero value is ready; safe for concurrent use.
type floods struct {
	mu      sync.Mutex
	senders map[[sha256.Size]byte]*sender
	others  sender
}

// hit counts a refusal of a sender at an install.
func (f *floods) hit(source, install string, unknown bool, now time.Time) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.find("i", source, install, now)
	if !s.hit(now, floodBurst, floodInterval) {
		record, n := s.tell(now)
		return verdict{limited: true, record: record, suppressed: n}
	}
	if !unknown {
		return verdict{record: true}
	}
	if s = f.find("u", source, "", now); s.hit(now, unknownBurst, unknownInterval) {
		return verdict{record: true}
	}
	record, n := s.tell(now)
	return verdict{record: record, suppressed: n}
}

// visit counts a request of a visitor of an install.
func (f *floods) visit(install, visitor string, asks bool, now time.Time) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind, burst, every := "say", sayBurst, sayInterval
	if asks {
		kind, burst, every = "ask", askBurst, askInterval
	}
	s := f.find(kind, visitor, install, now)
	// Strangers may have taken every place: theirs is not held against a visitor.
	if s == &f.others || s.hit(now, burst, every) {
		return verdict{}
	}
	v := verdict{limited: true}
	v.record, v.suppressed = s.tell(now)
	return v
}

func (f *floods) find(kind, source, install string, now time.Time) *sender {
	k := sha256.Sum256([]byte(kind + "\x00" + source + "\x00" + install))
	if s, ok := f.senders[k]; ok {
		return s
	}
	if len(f.senders) >= maxSenders {
		for k, s := range f.senders {
			if s.free.Before(now) && now.Sub(s.told) >= tellEvery {
				delete(f.senders, k)
			}
		}
	}
	if len(f.senders) >= maxSenders {
		return &f.others
	}
	if f.senders == nil {
		f.senders = map[[sha256.Size]byte]*sender{}
	}
	s := &sender{}
	f.senders[k] = s
	return s
}
