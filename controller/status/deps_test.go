package status

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// A status can be read by anything: no Kubernetes, no metrics, no law.
func TestIsPlainData(t *testing.T) {
	deptest.Refuse(t, "k8s.io/api", "k8s.io/client-go", "sigs.k8s.io", "github.com/prometheus", deptest.Module+"/controller/law", deptest.Module+"/controller/inventory")
}
