package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// recipe is a section of the cookbook: its files and its console sessions.
type recipe struct {
	title   string
	files   map[string]string
	console []string
}

var fence = regexp.MustCompile("(?ms)^```(\\w+) ?(\\S*)\n(.*?)^```$")

// readCookbook splits the document; what comes before the first recipe holds
// the files that all share.
func readCookbook(t *testing.T) []recipe {
	t.Helper()
	raw, err := os.ReadFile("../../docs/policy-cookbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(raw), "\n## ")
	shared := parseRecipe(sections[0])
	var out []recipe
	for _, section := range sections[1:] {
		r := parseRecipe(section)
		for name, content := range shared.files {
			if _, own := r.files[name]; !own {
				r.files[name] = content
			}
		}
		out = append(out, r)
	}
	return out
}

func parseRecipe(section string) recipe {
	title, _, _ := strings.Cut(section, "\n")
	r := recipe{title: title, files: map[string]string{}}
	for _, m := range fence.FindAllStringSubmatch(section, -1) {
		if m[1] == "console" {
			r.console = append(r.console, m[3])
			continue
		}
		r.files[m[2]] = m[3]
	}
	return r
}

func TestCookbook(t *testing.T) {
	recipes := readCookbook(t)
	if len(recipes) < 8 {
		t.Fatalf("only %d recipes", len(recipes))
	}
	for _, r := range recipes {
		t.Run(r.title, func(t *testing.T) {
			dir := t.TempDir()
			policy := filepath.Join(dir, "policy")
			if err := os.Mkdir(policy, 0o700); err != nil {
				t.Fatal(err)
			}
			for name, content := range r.files {
				to := policy
				if name == "pods.yaml" {
					to = dir
				}
				if err := os.WriteFile(filepath.Join(to, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := detnet(t, "", "check", "-d", policy); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if len(r.console) == 0 {
				t.Error("the recipe shows no result")
			}
			for _, session := range r.console {
				playSession(t, dir, session)
			}
		})
	}
}

// playSession runs each "$ detnet policy" line and compares what follows it.
func playSession(t *testing.T, dir, session string) {
	t.Helper()
	for _, command := range strings.Split(session, "$ detnet policy ")[1:] {
		line, want, _ := strings.Cut(command, "\n")
		args := strings.Fields(line)
		for i, arg := range args {
			if arg == "policy" || arg == "pods.yaml" {
				args[i] = filepath.Join(dir, arg)
			}
		}
		got, _ := detnet(t, "", args...) // a refusal is an error, and shown
		got, _, _ = strings.Cut(got, "Error: ")
		pattern := regexp.QuoteMeta(strings.TrimSpace(want))
		pattern = strings.ReplaceAll(pattern, "\n…\n", "\n(?:.*\n)*?")
		pattern = strings.ReplaceAll(pattern, "…", ".*")
		if !regexp.MustCompile("^" + pattern + "(?:\n|$)").MatchString(got) {
			t.Errorf("%s\nprints\n%s\nand the cookbook shows\n%s", line, got, want)
		}
	}
}
