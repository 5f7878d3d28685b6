package sessiontest

import "testing"

func TestMemory(t *testing.T) { Run(t, All(NewMemory())) }
