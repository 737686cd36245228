// Command check has Go's sumdb packages judge a published log: signatures, tiles, inclusion and consistency.
//
//	check FOLDER KEY     what lies in FOLDER is described in ../README.md; KEY holds a vkey
//
// Exit code: 0 everything holds, 1 something does not, 2 it could not be checked.
package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// tiles reads the tiles of the log. Ours are all of height 8, so the path does not say it.
type tiles struct{ folder string }

func (tiles) Height() int                     { return height }
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		all = append(all, data)
	}
	return all, nil
}

type checker struct {
	folder   string
	verifier note.Verifier
}

// open verifies a signed checkpoint and reads its three lines.
func (c checker) open(raw []byte) (tlog.Tree, error) {
	opened, err := note.Open(raw, note.VerifierList(c.verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != c.verifier.Name() || lines[3] != "" {
		return tlog.Tree{}, errors.New("not the three lines of a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// entryHash is the leaf data of a position, from the entry bundle.
func (c checker) entryHash(position, size int64) ([]byte, error) {
	// Bundles are named as tiles of level 0.
	tile := tlog.Tile{H: height, L: 0, N: position >> height, W: 1 << height}
	if rest := size - tile.N<<height; rest < int64(tile.W) {
		tile.W = int(rest)
	}
	path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(c.folder, path))
	if err != nil {
		return nil, err
	}
	at := int(position&(1<<height-1)) * 34
	if len(data) != 34*tile.W || data[at] != 0 || data[at+1] != 32 {
		return nil, fmt.Errorf("%s is no bundle of %d entries", path, tile.W)
	}
	return data[at+2 : at+34], nil
}

// tree checks one checkpoint: every tile that leads to some of its leaves, and the leaves' proofs.
func (c checker) tree(tree tlog.Tree) error {
	hashes := tlog.TileHashReader(tree, tiles{c.folder})
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return errors.New("the tiles give another root")
	}
	// One leaf of every tile of level 0, and so every tile, is authenticated against the root.
	for position := int64(0); position < tree.N; position++ {
		if position&(1<<height-1) > 1 && position+1 < tree.N {
			continue
		}
		data, err := c.entryHash(position, tree.N)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(tree.N, position, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, position, tlog.RecordHash(data)); err != nil {
			return fmt.Errorf("position %d: %v", position, err)
		}
	}
	return nil
}

// proof reads a proof file: its first lines, the hashes, and the checkpoint that it leads to.
func (c checker) proof(path string, heads int) ([]string, []tlog.Hash, tlog.Tree, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, tlog.Tree{}, err
	}
	before, checkpoint, found := strings.Cut(string(raw), "\n\n")
	lines := strings.Split(before, "\n")
	if !found || len(lines) < heads {
		return nil, nil, tlog.Tree{}, errors.New("not a proof")
	}
	var hashes []tlog.Hash
	for _, line := range lines[heads:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, nil, tlog.Tree{}, errors.New("not a hash")
		}
		hashes = append(hashes, *(*tlog.Hash)(raw))
	}
	tree, err := c.open([]byte(checkpoint))
	return lines[:heads], hashes, tree, err
}

func (c checker) inclusion(path string) error {
	heads, hashes, tree, err := c.proof(path, 2)
	if err != nil {
		return err
	}
	position, err := strconv.ParseInt(strings.TrimPrefix(heads[1], "index "), 10, 64)
	if err != nil || heads[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof of inclusion")
	}
	data, err := c.entryHash(position, tree.N)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(hashes, tree.N, tree.Hash, position, tlog.RecordHash(data))
}

func (c checker) consistency(path string, trees map[int64]tlog.Tree) error {
	heads, hashes, tree, err := c.proof(path, 1)
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(strings.TrimPrefix(heads[0], "old "), 10, 64)
	old, known := trees[size]
	if err != nil || !known {
		return errors.New("not a proof from a checkpoint of this folder")
	}
	return tlog.CheckTree(hashes, tree.N, tree.Hash, old.N, old.Hash)
}

func (c checker) all() error {
	names, err := filepath.Glob(filepath.Join(c.folder, "checkpoints", "*"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("no checkpoints: %v", err)
	}
	trees := map[int64]tlog.Tree{}
	var sizes []int64
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		tree, err := c.open(raw)
		if err == nil && filepath.Base(name) != strconv.FormatInt(tree.N, 10) {
			err = errors.New("it is of another size")
		}
		if err == nil {
			err = c.tree(tree)
		}
		if err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
		trees[tree.N] = tree
		sizes = append(sizes, tree.N)
	}
	sort.Slice(sizes, func(i, j int) bool { return sizes[i] < sizes[j] })
	for i, old := range sizes {
		for _, size := range sizes[i:] {
			proof, err := tlog.ProveTree(size, old, tlog.TileHashReader(trees[size], tiles{c.folder}))
			if err == nil {
				err = tlog.CheckTree(proof, size, trees[size].Hash, old, trees[old].Hash)
			}
			if err != nil {
				return fmt.Errorf("from %d to %d: %v", old, size, err)
			}
		}
	}
	proofs, err := filepath.Glob(filepath.Join(c.folder, "proofs", "*"))
	if err != nil {
		return err
	}
	for _, name := range proofs {
		check := c.inclusion
		if strings.HasSuffix(name, ".consistency") {
			check = func(path string) error { return c.consistency(path, trees) }
		}
		if err := check(name); err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	fmt.Printf("ok: %d checkpoints, %d proofs\n", len(sizes), len(proofs))
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "check FOLDER KEY")
		os.Exit(2)
	}
	key, err := os.ReadFile(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := (checker{os.Args[1], verifier}).all(); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}
