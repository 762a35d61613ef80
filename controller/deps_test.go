package controller

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// The controller meets webhook and policies in the cluster only.
func TestNeverImportsTheWebhookOrPolicies(t *testing.T) {
	deptest.Refuse(t, deptest.Module+"/webhook", deptest.Module+"/policies", "github.com/open-policy-agent/opa")
}
