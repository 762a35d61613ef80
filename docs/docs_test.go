package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// mention is how programs, the chart and comments point to a page.
	mention = regexp.MustCompile(`\bdocs/[a-z0-9/-]+\.md(#[a-z0-9-]+)?`)
	// claim is a test in a page, function one in the code.
	claim    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+)[`/]")
	function = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+)\(`)
	marked   = regexp.MustCompile("`|\\[([^\\]]*)\\]\\([^)]*\\)")
)

// A link in a page, and a page named by a program or the chart, lead to a file that is there,
// and where they name a heading, to that heading.
func TestLinksLeadSomewhere(t *testing.T) {
	read(t, func(file, text string) {
		if strings.HasSuffix(file, ".md") {
			for _, found := range link.FindAllStringSubmatch(text, -1) {
				to, _, _ := strings.Cut(found[1], "#")
				if strings.Contains(to, "://") {
					continue
				}
				at := path.Join(path.Dir(file), to)
				if to == "" {
					at = file
				}
				mustLead(t, file, found[1], at)
			}
			return
		}
		for _, found := range mention.FindAllString(text, -1) {
			to, _, _ := strings.Cut(found, "#")
			mustLead(t, file, found, to)
		}
	})
}

// A test that a page names for a claim is there, by that name.
func TestTestsOfClaimsAreThere(t *testing.T) {
	named, defined := make(map[string]string), make(map[string]bool)
	read(t, func(file, text string) {
		switch {
		case strings.HasSuffix(file, "_test.go"):
			for _, found := range function.FindAllStringSubmatch(text, -1) {
				defined[found[1]] = true
			}
		case strings.HasPrefix(file, "docs/"):
			for _, found := range claim.FindAllStringSubmatch(text, -1) {
				named[found[1]] = file
			}
		}
	})
	for test, file := range named {
		if !defined[test] {
			t.Errorf("%s names %s, which there is not", file, test)
		}
	}
	if len(named) == 0 {
		t.Error("no page names a test")
	}
}

// Who looks for a decision finds each of them in the list, by the title that it has.
func TestDecisionsAreListed(t *testing.T) {
	index, err := os.ReadFile("decisions/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("decisions/0*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		number := path.Base(page)[:4]
		first, _, _ := strings.Cut(string(text), "\n")
		title, ok := strings.CutPrefix(first, "# "+number+" ")
		if !ok {
			t.Errorf("%s begins with %q, want # %s and a title", page, first, number)
		}
		if row := "| [" + number + "](" + path.Base(page) + ") | " + title + " |\n"; !strings.Contains(string(index), row) {
			t.Errorf("decisions/README.md lacks the line %q", row)
		}
	}
}

// mustLead reports where the link to at, a file of the repository, leads nowhere.
func mustLead(t *testing.T, file, to, at string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", at))
	if err != nil {
		if info, err := os.Stat(filepath.Join("..", at)); err == nil && info.IsDir() {
			return
		}
		t.Errorf("%s: %s: there is no %s", file, to, at)
		return
	}
	_, heading, ok := strings.Cut(to, "#")
	if ok && !headings(string(text))[heading] {
		t.Errorf("%s: %s: %s has no such heading", file, to, at)
	}
}

// headings are those of a page, as GitHub names them in links.
func headings(page string) map[string]bool {
	all, code := make(map[string]bool), false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		title := strings.TrimLeft(line, "#")
		if code || title == line {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, marked.ReplaceAllString(strings.TrimSpace(title), "$1"))
		all[name] = true
	}
	return all
}

// read calls see with each file of the repository that people write.
func read(t *testing.T, see func(file, text string)) {
	err := filepath.WalkDir("..", func(at string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin" || name == "dist" || name == "out" || name == "testdata"):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		switch path.Ext(at) {
		case ".md", ".go", ".yaml", ".txt", ".tpl", ".html", ".js", ".rego", "":
		default:
			return nil
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		see(filepath.ToSlash(strings.TrimPrefix(at, ".."+string(filepath.Separator))), string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
