package live

import "testing"

// A scheme is told in either case, and an address may have a zone: credentials may go there.
func TestWhereABundleMayBe(t *testing.T) {
	for text, want := range map[string][2]bool{ // valid, encrypted
		"https://host/b":                     {true, true},
		"HTTPS://host/b":                     {true, true},
		"Https://[::ffff:192.0.2.1%25eth0]/": {true, true},
		"http://host/b":                      {true, false},
		"HTTP://[fe80::1%25eth0]:8080/b":     {true, false},
		"http://[1:2]/b":                     {false, false},
		"https://me:secret@host/b":           {false, true},
		"ftp://host/b":                       {false, false},
		"httpsx://host/b":                    {false, false},
	} {
		if got := [2]bool{ValidURL(text), Encrypted(text)}; got != want {
			t.Errorf("%s: valid and encrypted %v, want %v", text, got, want)
		}
	}
}
