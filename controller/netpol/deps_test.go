package netpol

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// Rego decides in the webhook; here is only written what it says.
func TestNeverImportsTheWebhookOrPolicies(t *testing.T) {
	deptest.Refuse(t, deptest.Module+"/webhook", deptest.Module+"/policies", "github.com/open-policy-agent/opa")
}
