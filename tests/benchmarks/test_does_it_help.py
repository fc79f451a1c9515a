import json

from benchmarks.does_it_help import MARK, main


def _stage(folder, stage):
    figures = {
        "cube": {"name": "sdo2012"},
        "synthetic": [
            {
                "name": "rare",
                "bundle_name": "sdo2012-128",
                "gate": "ungated",
                "samples": {"positive": 2000, "negative": 0},
            }
        ],
        "days": 31,
        "settings": {"size": 64},
        "arms": [{"training": {"steps": 304, "seconds": 10.0}}, {"training": {"steps": 304, "seconds": 14.0}}],
    }
    (folder / f"{stage}.json").write_text(json.dumps(figures))
    (folder / f"{stage}.md").write_text(f"| arm |\n| --- |\n| {stage} |\n")
    (folder / f"{stage}.png").write_bytes(b"picture")


def test_the_page_is_filled_and_filled_again(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"# Question\n\n{MARK}\nold\n")
    _stage(tmp_path, "validation")
    assert main([str(tmp_path), "--page", str(page), "--results", str(tmp_path)]) == 0
    text = page.read_text()
    assert text.startswith(f"# Question\n\n{MARK}\n\n### Validation")
    assert "old" not in text
    assert (
        "`rare` (sdo2012-128, gate: ungated, 2,000 positive and 0 negative); 64 pixels, 304 steps, 12 s a run." in text
    )
    assert "| validation |" in text
    assert (tmp_path / "page-validation.png").read_bytes() == b"picture"
    assert (tmp_path / "page-validation.json").read_bytes() == (tmp_path / "validation.json").read_bytes()
    _stage(tmp_path, "test")
    assert main([str(tmp_path), "--page", str(page), "--results", str(tmp_path)]) == 0
    assert page.read_text().count("###") == 2
    assert page.read_text().index("### Test") < page.read_text().index("### Validation")


def test_an_empty_folder_is_named(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(MARK)
    (tmp_path / "comparison").mkdir()
    assert main([str(tmp_path / "comparison"), "--page", str(page)]) == 1
    assert "holds no results" in capsys.readouterr().err
