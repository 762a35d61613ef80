package actuate_test

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// The writer decides nothing about limits but their bounds.
func TestWritesWithoutThinking(t *testing.T) {
	deptest.Refuse(t, deptest.Module+"/controller/law", deptest.Module+"/controller/inventory", deptest.Module+"/controller/agents")
}
