// Package bundletest makes signed policy bundles for tests, as "opa build" and "opa sign" do.
package bundletest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// Signer is a pair of keys in PEM form.
type Signer struct{ private, Public []byte }

// NewSigner returns one with a key of its own.
func NewSigner(t testing.TB) Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return Signer{
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	}
}

// Sign returns a bundle of one module, site.rego, and data.
func (s Signer) Sign(t testing.TB, rego string, data map[string]any) []byte {
	t.Helper()
	module, err := ast.ParseModule("site.rego", rego)
	if err != nil {
		t.Fatal(err)
	}
	if data == nil {
		data = map[string]any{}
	}
	b := bundle.Bundle{
		Modules: []bundle.ModuleFile{{Path: "/site.rego", URL: "/site.rego", Raw: []byte(rego), Parsed: module}},
		Data:    data,
	}
	b.Manifest.Init()
	if err := b.GenerateSignature(bundle.NewSigningConfig(string(s.private), "ES256", ""), "theirs", false); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).DisableFormat(true).Write(b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
