"""The commands of the published README, word for word, in a checkout that has no data yet.

Each ends with the files it lacks, where they go and what fetches them: never in a traceback or a usage message, and
never in a download.
"""

import os

import pytest

from tests.commands import ROOT, run

GALLERY = "dataset/mp16-pro/mp-16-images.tar"
COMMANDS = {
    "CUDA_VISIBLE_DEVICES=0,1,2,3 deepspeed --num_gpus 4 finetune_geo_ranker.py "
    "--model_path=Qwen/Qwen2-VL-7B-Instruct --model_save_path=xxx --group_size=7": ("dataset/georanking", GALLERY),
    # As the deepspeed launcher calls the script.
    "python finetune_geo_ranker.py --local_rank=0 --model_path=Qwen/Qwen2-VL-7B-Instruct --model_save_path=xxx "
    "--group_size=7": ("dataset/georanking", GALLERY),
    "python lvlm_zs_predict.py --api_key=sk-xxx --model_name=xxx --base_url=xxx --root_path=xxx/dataset/yfcc4k": (
        "xxx/dataset/yfcc4k/yfcc4k_places365.csv",
    ),
    "python compile_prediction_candidates.py": ("dataset/im2gps3k/im2gps3k.csv",),
    "python evaluate.py --model_path=path_to_lora --dataset=im2gps3k --topn=12 --topn_zs=3 --batch_size=16": (
        "dataset/im2gps3k/im2gps3k.csv",
        "dataset/im2gps3k/im2gps3ktest",
        GALLERY,
        "path_to_lora/adapter_config.json",
    ),
    "python evaluate.py --model_path=path_to_lora --dataset=yfcc4k --topn=12 --topn_zs=3 --batch_size=16": (
        "dataset/yfcc4k/yfcc4k.csv",
        "dataset/yfcc4k/yfcc4k",
        GALLERY,
        "path_to_lora/adapter_config.json",
    ),
    "python quick_start.py": ("dataset/earth/test/candidates.csv", "dataset/earth/gallery/images.tar"),
    # The published script had its adapter as a constant; the sample's row is here.
    "python quick_start_im2gps3k.py --model_path path_to_lora": (
        "dataset/im2gps3k/im2gps3ktest",
        GALLERY,
    ),
}


@pytest.mark.parametrize(("command", "missing"), COMMANDS.items())
def test_what_is_missing_is_said(command, missing, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    message = run(command, monkeypatch)
    assert isinstance(message, str), message
    for path in missing:
        assert f"{path} does not exist" in message
    assert any(word in message for word in ("git clone", "hf download", "make demo"))
    assert os.listdir() == [], "nothing was written"


@pytest.mark.parametrize(
    "flags",
    [
        "--local_rank -1 --per_device_train_batch_size 1 --per_device_eval_batch_size 1 --total_batch_size 4 "
        "--learning_rate 1e-4 --report_to none --group_size 5 --num_samples 100000 --num_train_epochs 1 "
        "--save_strategy steps --lora_r 16 --lambda1 0.7 --K 1 --dataset rows.parquet",
        "--group_size 7 --K all --save_strategy no --deepspeed deepspeed_config/zero3.json",
        "--save_strategy epoch --K 7 --group_size 7",
    ],
)
def test_the_other_published_flags_of_training(flags, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    message = run(f"python finetune_geo_ranker.py --model_save_path xxx {flags}", monkeypatch)
    assert f"{GALLERY} does not exist" in message


def test_the_published_configurations_are_there():
    names = {"zero2.json", "zero3.json", "zero3_offload.json"}
    assert names <= {path.name for path in (ROOT / "deepspeed_config").iterdir()}


def test_the_other_published_flags_of_generation_and_evaluation(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    message = run(
        "python lvlm_zs_predict.py --api_key sk-xxx --model_name org/model --base_url http://localhost:9/v1 "
        "--root_path dataset/yfcc4k --text_path yfcc4k_places365.csv --image_path yfcc4k "
        "--result_path llm_predict_results_zs_model.csv --process 32",
        monkeypatch,
    )
    assert "hf download Jia-py/G3-checkpoint yfcc4k_places365.csv --local-dir dataset/yfcc4k" in message
    message = run(
        "python evaluate.py --model Qwen/Qwen2-VL-7B-Instruct --model_path checkpoints/ "
        f"--image_path dataset/im2gps3k/im2gps3ktest/ --image_data_path {GALLERY} "
        "--tar_index_path dataset/mp16-pro/tar_index.pkl --topn 10 --topn_zs 5 --batch_size 4",
        monkeypatch,
    )
    assert "unzip im2gps3ktest.zip -d dataset/im2gps3k" in message
    assert "dataset/mp16-pro/tar_index.pkl does not exist" in message
