# Conceptome.  `make demo` and `make check` are the two commands a newcomer needs.
#
#   make            build/conceptome
#   make demo       set-up, build, and a whole study of real cells
#   make check      set-up, build, all tests; san=address,undefined builds and tests under sanitizers
#   make ui         the pages of `conceptome serve` (node, npm); `make` does it where it can
#   make bench      our times beside the established tools', in one run; WHAT="sae scvi" some of it, PEERS=no ours alone
#   make fuzz       fuzz targets (clang);  make fuzz-run SECONDS=600 runs each
#   make install    DESTDIR= PREFIX=/usr/local
#   make golden     recomputes test/golden with the established tools (in a venv of its own)

PREFIX ?= /usr/local
CC ?= gcc
san ?=
BUILD := build$(if $(san),/san)
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

PACKAGES := hdf5 openblas jansson zlib libdeflate libcurl sqlite3 libmicrohttpd
ARCH := $(shell uname -m)

# Set-up comes first: without the libraries nothing below can be resolved.
ifneq ($(filter-out clean deps install-deps,$(or $(MAKECMDGOALS),all)),)
DEPS_STATE := $(shell sh scripts/deps.sh --quiet >&2 && echo ok)
ifneq ($(DEPS_STATE),ok)
$(error dependencies are missing; see the message above, or run `sh scripts/deps.sh`)
endif
endif

WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wno-unused-parameter $(if $(CI),-Werror)
HARDEN := $(if $(san),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
# No contraction to FMA outside the kernels: results must not depend on what the compiler fuses.
OPT := $(if $(san),-O1 -g -fsanitize=$(san) -fno-omit-frame-pointer -fno-sanitize-recover=all,-O3 -g) \
       -ffp-contract=off -fno-math-errno -fno-trapping-math
CPPFLAGS += -Iinclude -Isrc -D_GNU_SOURCE $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
CFLAGS += -std=c11 $(OPT) $(WARN) $(HARDEN) -fopenmp
LDFLAGS += -pie -Wl,-z,relro,-z,now $(if $(san),-fsanitize=$(san))
LDLIBS += $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm

ifeq ($(ARCH),x86_64)
LEVELS := 0 1 2
CPPFLAGS += -DCPT_LEVELS=3
else
LEVELS := 0
CPPFLAGS += -DCPT_LEVELS=1
endif
FLAGS_0 :=
FLAGS_1 := -march=x86-64-v3 -ffp-contract=fast
FLAGS_2 := -march=x86-64-v4 -mprefer-vector-width=512 -ffp-contract=fast
# The same bytes at every level; and gathers, which gcc shuns unless tuned for a processor.
FLAGS_OF_scan := -ffp-contract=off
FLAGS_OF_moves := -ffp-contract=off $(if $(filter x86_64,$(ARCH)),-mtune=icelake-server)

KERNELS := $(wildcard src/math/kernels/*.c)
SOURCES := $(filter-out $(KERNELS),$(wildcard src/*/*.c))
OBJECTS := $(SOURCES:src/%.c=$(BUILD)/%.o) \
           $(foreach l,$(LEVELS),$(KERNELS:src/%.c=$(BUILD)/%.level$(l).o)) $(BUILD)/pages.o
CLI_OBJECTS := $(patsubst cli/%.c,$(BUILD)/cli/%.o,$(wildcard cli/*.c))
TESTS := $(patsubst test/%.c,$(BUILD)/test/%,$(wildcard test/test_*.c))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/bench_*.c))

.PHONY: all lib tests ui FORCE demo check check-rooms check-units check-cli check-ui bench fuzz fuzz-run golden install clean deps
all: $(BUILD)/conceptome
lib: $(BUILD)/libconceptome.a
tests: $(TESTS)

$(BUILD)/conceptome: $(CLI_OBJECTS) $(BUILD)/libconceptome.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(CLI_OBJECTS) $(BUILD)/libconceptome.a $(LDLIBS)

$(BUILD)/libconceptome.a: $(OBJECTS)
	@echo "  AR   $@"
	$(Q)rm -f $@ && ar rcsDP $@ $(OBJECTS)

define level_rule
$(BUILD)/math/kernels/%.level$(1).o: src/math/kernels/%.c
	@mkdir -p $$(@D)
	@echo "  CC   $$< (level $(1))"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(FLAGS_$(1)) $$(FLAGS_OF_$$*) -DCPT_LEVEL=$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach l,$(LEVELS),$(eval $(call level_rule,$(l))))

$(BUILD)/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/cli/%.o: cli/%.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/test/%: test/%.c $(BUILD)/libconceptome.a
	@mkdir -p $(@D)
	@echo "  TEST $@"
	$(Q)$(CC) $(CPPFLAGS) -Itest $(CFLAGS) -Wno-missing-prototypes $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/libconceptome.a -lcmocka $(LDLIBS)

$(BUILD)/bench/%: bench/%.c $(BUILD)/libconceptome.a
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes $(LDFLAGS) -o $@ $< $(BUILD)/libconceptome.a $(LDLIBS)

# The pages are compiled in: what npm makes of ui/, or nothing where there is no npm.
$(BUILD)/pages.c: FORCE
	@mkdir -p $(@D)
	$(Q)sh scripts/ui.sh --if-possible $(@D)/ui-tried
	$(Q)sh scripts/embed_pages.sh ui/dist >$@.tmp
	$(Q)if cmp -s $@.tmp $@; then rm -f $@.tmp; else echo "  GEN  $@"; mv $@.tmp $@; fi
FORCE:
ui:
	$(Q)sh scripts/ui.sh
$(BUILD)/pages.o: $(BUILD)/pages.c
	@echo "  CC   $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# One test program after the other; every one runs even when one fails.
check-units: $(TESTS)
	$(Q)sh test/run_units.sh $(BUILD)/test $(notdir $(TESTS))
# Under sanitizers, which make everything some ten times slower: one whole study, what reads files of others, the server.
SAN_CASES := broken_files closed_streams enrich_alone notes scgpt serve serve_mistakes simulate_and_run usage
check-cli: $(BUILD)/conceptome
	$(Q)sh test/cli/run.sh $(BUILD)/conceptome $(if $(san),$(SAN_CASES))
# The pages in a real browser; skips where node, npm or chromium are absent.
check-ui: $(BUILD)/conceptome
	$(Q)sh test/ui/run.sh $(BUILD)/conceptome
# A room includes only rooms before it.
check-rooms:
	$(Q)sh test/rooms.sh
check: check-rooms check-units check-cli $(if $(san),,check-ui)

demo: $(BUILD)/conceptome
	$(Q)sh scripts/demo.sh $(BUILD)/conceptome

bench: $(BUILD)/conceptome $(BENCHES)
	$(Q)sh bench/run.sh $(BUILD) $(if $(filter no,$(PEERS)),--ours) $(WHAT)

fuzz:
	$(Q)sh test/fuzz/build.sh
fuzz-run: fuzz
	$(Q)sh test/fuzz/run.sh $(or $(SECONDS),60)

golden:
	$(Q)sh test/golden/make.sh

deps:
	$(Q)sh scripts/deps.sh

install: $(BUILD)/conceptome $(BUILD)/libconceptome.a
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include \
	    $(DESTDIR)$(PREFIX)/share/conceptome $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(BUILD)/conceptome $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/libconceptome.a $(DESTDIR)$(PREFIX)/lib
	install -m 644 include/conceptome.h $(DESTDIR)$(PREFIX)/include
	install -m 644 data/* $(DESTDIR)$(PREFIX)/share/conceptome
	install -m 644 doc/*.1 $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
