"""Localization: where on an image the tiles look synthetic.

Reading order: `heatmap` lays the tiles' scores back onto the image, in cells; `regions` finds the parts that look
synthetic; `generators` names what made them; `pictures` draws both; `overlaps` compares them with a known region.
"""
