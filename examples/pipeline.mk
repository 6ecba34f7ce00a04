# The pipeline of pipeline.sh as a Makefile: a file is made again only if its inputs have changed, -j
# runs independent steps in parallel, and a failed step leaves no finished file.
#
#   make -f examples/pipeline.mk OUT=out                         the pictures of the examples
#   make -f examples/pipeline.mk OUT=out STYLES=my/styles CONTENTS=my/photos -j2
#   make -f examples/pipeline.mk OUT=out out/pairs.jsonl         up to this file
#
# OUT                         folder of results; open OUT/index.html
# STYLES, CONTENTS            folders of pictures
# DEMO_STYLES, DEMO_CONTENTS  use only the first N of each
# PER_STYLE                   contents rendered in each style
# SIZE                        longer side of the rendered pictures in pixels
#
# Make does not notice changed settings: after changing PER_STYLE or SIZE, add -B.

here := $(dir $(lastword $(MAKEFILE_LIST)))

OUT ?= demo
STYLES ?= $(here)pictures/styles
CONTENTS ?= $(here)pictures/contents
DEMO_STYLES ?= 1000
DEMO_CONTENTS ?= 1000
PER_STYLE ?= 6
SIZE ?= 384

.DELETE_ON_ERROR:
.PHONY: all
all: $(OUT)/scores.json $(OUT)/scores.edges.json $(OUT)/scores.imagenet.json $(OUT)/retrieved.jsonl

$(OUT):
	mkdir -p $@

# 1. Describe the style pictures; drop duplicates; cluster, and keep a balanced sample.
$(OUT)/captions.style.jsonl: $(STYLES) | $(OUT)
	megastyle caption $< --kind style --limit $(DEMO_STYLES) -o $@ --overwrite

$(OUT)/distinct.style.jsonl: $(OUT)/captions.style.jsonl
	megastyle dedup $< -o $@ --overwrite

$(OUT)/styles.jsonl: $(OUT)/distinct.style.jsonl
	megastyle cluster $< --sample 12 -o $@ --overwrite

# 2. Describe the content pictures, the same way.
$(OUT)/captions.content.jsonl: $(CONTENTS) | $(OUT)
	megastyle caption $< --kind content --limit $(DEMO_CONTENTS) -o $@ --overwrite

$(OUT)/contents.jsonl: $(OUT)/captions.content.jsonl
	megastyle dedup $< --on content -o $@ --overwrite

# 3. Pair styles with contents and render every pair.
$(OUT)/pairs.jsonl: $(OUT)/styles.jsonl $(OUT)/contents.jsonl
	megastyle pair $< --contents $(OUT)/contents.jsonl --per-style $(PER_STYLE) -o $@ --overwrite

$(OUT)/synth/metadata.jsonl: $(OUT)/pairs.jsonl
	megastyle synth $< --size $(SIZE) -o $(@D) --overwrite

# 4. Search by style, with an HTML page.
$(OUT)/retrieved.jsonl: $(OUT)/styles.jsonl $(OUT)/synth/metadata.jsonl
	megastyle retrieve $< --index $(OUT)/synth --top 6 -o $@ --overwrite --page $(basename $@).html

# 5. Evaluate: scores per picture with a page and a contact sheet, then a report of all scores.
$(OUT)/scores.jsonl: $(OUT)/synth/metadata.jsonl
	megastyle eval $(<D) --each -o $@ --overwrite --page $(OUT)/index.html --sheet $(OUT)/sheet.png

$(OUT)/scores.json: $(OUT)/scores.jsonl
	megastyle eval $< -o $@ --overwrite --page $(OUT)/report.html

# The same pictures, by encoders that are independent of how they were made.
$(OUT)/scores.%.json: $(OUT)/synth/metadata.jsonl
	megastyle eval $(<D) --backend $* -o $@ --overwrite
