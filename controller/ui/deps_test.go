package ui

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// What only shows has no way to change anything.
func TestOnlyShows(t *testing.T) {
	deptest.Refuse(t, "k8s.io/api", "k8s.io/client-go", "sigs.k8s.io", deptest.Module+"/controller/actuate", deptest.Module+"/controller/law", deptest.Module+"/controller/inventory")
}
