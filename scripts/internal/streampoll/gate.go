package streampoll

import (
	"context"
	"sync"
)

// gate lets work pass unless it is paused and knows when none is under way.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // non-nil while paused
	idle   chan struct{} // closed when active falls to zero
	active int
}

// enter waits until the gate is open; false means ctx ended first.
func (g *gate) enter(ctx context.Context) bool {
	for {
		g.mu.Lock()
		if g.opened == nil {
			if ctx.Err() != nil {
				g.mu.Unlock()
				return false
			}
			g.active++
			g.mu.Unlock()
			return true
		}
		opened := g.opened
		g.mu.Unlock()
		select {
		case <-opened:
		case <-ctx.Done():
			return false
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active--
	if g.active == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// pause closes the gate at once and waits until what passed it has left.
func (g *gate) pause(ctx context.Context) error {
	g.mu.Lock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
	if g.active == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

func (g *gate) paused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened != nil
}
