package live

import "testing"

// A scheme is told in either case, and an address may have a zone: a bundle may be there.
func TestWhereABundleMayBe(t *testing.T) {
	for text, want := range map[string]bool{
		"https://host/b":                     true,
		"HTTPS://host/b":                     true,
		"Https://[::ffff:192.0.2.1%25eth0]/": true,
		"http://host/b":                      true,
		"HTTP://[fe80::1%25eth0]:8080/b":     true,
		"http://[1:2]/b":                     false,
		"https://me:secret@host/b":           false,
		"ftp://host/b":                       false,
		"httpsx://host/b":                    false,
	} {
		if got := ValidURL(text); got != want {
			t.Errorf("%s: valid %v, want %v", text, got, want)
		}
	}
}
